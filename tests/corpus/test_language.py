"""A chat in another language than English is noticed, and an English one never is, however it is written."""

import os
from pathlib import Path

import pytest

from menura.batches.tokenizer import Tokenizer
from menura.corpus.check import check
from menura.corpus.language import ENGLISH_TEXT, Language

OTHERS = {
    "German": """Hast du die Blumen gegossen? Ja, zweimal heute. Und das Basilikum? Es ist beleidigt.
Wir müssen morgen noch einkaufen, ich hab keine Milch mehr. Dann fahr ich nach der Arbeit vorbei, wenn du mir sagst
was fehlt.""",
    "French": """Tu as arrosé les plantes ? Oui, deux fois. Et le basilic ? Il boude. On doit faire les courses demain,
je n'ai plus de lait. Je passe après le travail si tu me dis ce qui manque.""",
    "Portuguese": """Você regou as plantas? Sim, duas vezes. E o manjericão? Está de mau humor. Amanhã a gente tem que
ir ao mercado, não tenho mais leite. Eu passo depois do trabalho se você me disser o que falta.""",
    "Spanish": """¿Has regado las plantas? Sí, dos veces. ¿Y la albahaca? Está de mal humor. Mañana hay que ir a la
compra, ya no me queda leche. Yo paso después del trabajo si me dices lo que falta.""",
    "Italian": """Hai annaffiato le piante? Sì, due volte. E il basilico? È di cattivo umore. Domani si va a fare la
spesa, non ho più latte. Passo io dopo il lavoro se mi dici che cosa manca.""",
    "Dutch": """Heb je de planten water gegeven? Ja, twee keer. En de basilicum? Die is niet zo blij. We moeten morgen
nog boodschappen doen, ik heb geen melk meer. Dan kom ik na het werk wel langs als je zegt wat er niet is.""",
    "Japanese": "植木に水をやった？うん、二回やったよ。バジルは？すねてる。明日は買い物に行かないと、牛乳がもうない。",
    "Chinese": "你给植物浇水了吗？浇了两次。罗勒怎么样？它在生气。我们明天得去买东西，家里没有牛奶了。",
    "Korean": "식물에 물 줬어? 응, 두 번. 바질은? 삐졌어. 내일 장 보러 가야 해, 우유가 없어. 퇴근하고 들를게.",
    "Arabic script": "هل سقيت النباتات؟ نعم، مرتين. والريحان؟ إنه غاضب. يجب أن نتسوق غدا، لم يعد لدي حليب.",
    "Devanagari script": "क्या तुमने पौधों को पानी दिया? हाँ, दो बार। और तुलसी? वह नाराज़ है। कल हमें बाज़ार जाना है।",
    "Cyrillic script": "Ты полила цветы? Да, два раза. А базилик? Обиделся. Завтра надо в магазин, молока больше нет.",
}
ENGLISH = {
    "plain": "did you water the fern? yes, twice. and the basil? it sulks. " * 6,
    "names": "Anna? Tomo! Ines lol 😂😂 k Anna brb Tomo ok Noa where u at Noa home lol Anna same Tomo k Ines hey " * 8,
    "emoji": "omg 😂😂😂 yes!! ❤️❤️ love it 🥰 u too 😘 haha 😂 see you at 8 🍕🍕 can't wait 🎉 me too 😍 " * 6,
    "short lines": "ok. sure. you? yes. no. why? dunno. lol. fine. me too. bye. hi. what? nothing. nm. cool. " * 6,
    "names of elsewhere": "José said the menu is in Español, ask María if she can bring la paella and the vino to us. "
    * 4,
    "a line of another language": "I love how she said je ne sais pas, then we just laughed about it for the day. " * 4,
    "links and numbers": "see [LINK], I was there at 10:15 and it cost 20, did you get the 2 tickets for the game? "
    * 4,
    "words of another script": "the sign says 東京 and this one says 大阪, that is where you get off the train. " * 4,
    "nothing but names": "Anna Tomo Ines Noa Mara Otto Tom " * 4,
    "almost nothing": "ja nein doch",
}


def language_of(text: str) -> str:
    """Return the language that some lines are found to be in."""
    found = Language()
    for line in text.splitlines():
        found.add(line)
    return found.name


@pytest.mark.parametrize("language", OTHERS)
def test_another_language_is_told_by_its_letters_or_its_commonest_words(language: str) -> None:
    assert language_of(OTHERS[language]) == language


@pytest.mark.parametrize("kind", ENGLISH)
def test_english_is_never_taken_for_another_language(kind: str) -> None:
    assert language_of(ENGLISH[kind]) == ""


def test_a_language_whose_words_are_not_known_is_no_english() -> None:
    finnish = "kastelitko kukat eilen illalla kyllä kahdesti entä basilika murjottaa yhä pitäisi käydä kaupassa " * 20
    assert language_of(finnish) == "another language than English"


def test_no_more_than_the_beginning_of_a_long_chat_is_looked_at() -> None:
    found = Language()
    for _ in range(5_000):
        found.add("did you water the fern and the basil today or not")
    for _ in range(50_000):
        found.add(OTHERS["German"])
    assert found.name == ""
    assert len(found.sample) < 10_000


@pytest.mark.parametrize(
    "language", ["German", "French", "Portuguese", "Japanese", "Arabic script", "Devanagari script"]
)
def test_a_check_of_a_chat_says_that_the_default_base_knows_english(tmp_path: Path, language: str) -> None:
    text = OTHERS[language].replace("\n", " ")
    path = tmp_path / "chat.txt"
    path.write_text(f"Ann: {text}\nBo: {text}\nAnn: {text}\n", encoding="utf-8")
    (warned,) = [problem for problem in check(path)[0].warnings if problem.code == "language"]
    assert warned.message == f"the chat is in {language}, the default base knows English above all"
    assert warned.place == str(path)
    assert "--base" in warned.hint


@pytest.mark.parametrize("kind", ENGLISH)
def test_a_check_of_an_english_chat_says_nothing_of_languages(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "chat.txt"
    path.write_text(f"Ann: {ENGLISH[kind]}\nBo: {ENGLISH[kind]}\nAnn: well\n", encoding="utf-8")
    assert not [problem for problem in check(path)[0].problems if problem.code == "language"]


@pytest.mark.weights
@pytest.mark.parametrize("language", ["German", "Japanese", "Arabic script", "Devanagari script"])
def test_a_tokenizer_that_takes_far_more_tokens_than_of_english_is_warned_of(
    weights_workspace: None, language: str
) -> None:
    file = Path(os.environ["MENURA_HOME"]) / "bases" / "smollm2-135m" / "tokenizer.json"
    found = Language()
    found.add(OTHERS[language])
    warned = found.warning_of_tokens(Tokenizer.from_file(file).encode)
    assert warned is not None
    assert "times as many tokens as of English" in warned.message


def test_a_tokenizer_made_for_the_language_is_not_warned_of_and_one_by_letter_is() -> None:
    found, english = Language(), Language()
    found.add(OTHERS["German"])
    english.add(ENGLISH["plain"])
    assert found.warning_of_tokens(str.split) is None
    assert found.warning_of_tokens(words_of_english) is not None
    assert english.warning_of_tokens(words_of_english) is None


def words_of_english(text: str) -> list[str]:
    """Return words of a tokenizer that knows the words of its English text alone, and letters of all others."""
    known = set(ENGLISH_TEXT.split())
    return [piece for word in text.split() for piece in ([word] if word in known else word)]
