"""What a messenger wrote is dropped with its reason; what a person wrote never is."""

import time

import pytest
from counts import count
from hypothesis import given, settings
from hypothesis import strategies as st

from menura.corpus.chats.cleaning import placeholder_words, system_words
from menura.corpus.chats.cleaning.placeholders import by_shape, dropped_as, is_bare_url, is_system, stripped

ANY_TEXT = st.text(st.characters(codec=None) | st.sampled_from("<>().:\n\u200e☎ ab"), max_size=150)

WRITTEN_BY_MESSENGERS = [
    ("<Media omitted>", "media"),
    ("image omitted", "media"),
    ("\u200eimage omitted", "media"),
    ("GIF omitted", "media"),
    ("sticker omitted", "sticker"),
    ("Contact card omitted", "contact"),
    ("IMG-20230101-WA0001.jpg (file attached)", "media"),
    ("STK-20230101-WA0001.webp (file attached)", "sticker"),
    ("Ann.vcf (file attached)", "contact"),
    ("<attached: 0001-PHOTO-2023-01-01.jpg>", "media"),
    ("\u200e<adjunto: 00001-AUDIO.opus>", "media"),
    ("report.pdf • 2 pages document omitted", "media"),
    ("PTT-20230101-WA0001.opus", "media"),
    ("This message was deleted", "deleted"),
    ("You deleted this message.", "deleted"),
    ("Missed voice call", "call"),
    ("Missed video call", "call"),
    ("Voice call, 3 min", "call"),
    ("Video call, 1 hr 2 min", "call"),
    ("\u200eVideo call. \u200eNo answer", "call"),
    ("☎ 通話時間 1:23", "call"),
    ("POLL:\nTea or coffee?\nOPTION: tea (3 votes)\nOPTION: coffee (1 vote)", "poll"),
    ("location: https://maps.google.com/?q=-37.4,23.8", "location"),
    ("Fern Café: https://foursquare.com/v/5dc", "location"),
    ("live location shared", "location"),
    ("null", "null"),
    ("Messages and calls are end-to-end encrypted. Tap to learn more.", "system"),
    ("Your security code with Ines changed. Tap to learn more.", "system"),
    ("Ines joined using this group's invite link", "system"),
    ('You created group "Plants"', "system"),
    ("Waiting for this message. This may take a while.", "system"),
    # German
    ("<Medien ausgeschlossen>", "media"),
    ("Bild weggelassen", "media"),
    ("IMG-1.jpg (Datei angehängt)", "media"),
    ("Diese Nachricht wurde gelöscht.", "deleted"),
    ("Verpasster Sprachanruf", "call"),
    ("Sprachanruf, 3 Min.", "call"),
    ("Standort: https://maps.google.com/?q=1.0,2.0", "location"),
    (
        "Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt. Niemand außerhalb dieses Chats kann sie lesen oder "
        "anhören, nicht einmal WhatsApp.",
        "system",
    ),
    # Spanish, French, Italian, Portuguese, Dutch
    ("<Multimedia omitido>", "media"),
    ("imagen omitida", "media"),
    ("Se eliminó este mensaje.", "deleted"),
    ("ENCUESTA:\n¿Té?\nOPCIÓN: sí (2 votos)", "poll"),
    ("<Médias omis>", "media"),
    ("image absente", "media"),
    ("Ce message a été supprimé", "deleted"),
    ("Appel vocal manqué", "call"),
    ("<Media omessi>", "media"),
    ("immagine omessa", "media"),
    ("Questo messaggio è stato eliminato", "deleted"),
    ("<Mídia oculta>", "media"),
    ("figurinha omitida", "sticker"),
    ("Mensagem apagada", ""),  # people say so
    ("Esta mensagem foi apagada", "deleted"),
    ("Chamada de voz perdida", "call"),
    ("<Media weggelaten>", "media"),
    ("afbeelding weggelaten", "media"),
    ("Dit bericht is verwijderd", "deleted"),
    # Russian, Turkish, Arabic, Hindi, Indonesian
    ("<Без медиафайлов>", "media"),
    ("Данное сообщение удалено", "deleted"),
    ("Пропущенный аудиозвонок", "call"),
    ("Сообщения и звонки защищены сквозным шифрованием. Третьи лица не могут их прочитать.", "system"),
    ("<Medya dahil edilmedi>", "media"),
    ("Bu mesaj silindi", "deleted"),
    ("Cevapsız sesli arama", "call"),
    ("<تم استبعاد الوسائط>", "media"),
    ("تم حذف هذه الرسالة", "deleted"),
    ("مكالمة صوتية فائتة", "call"),
    ("<मीडिया के बिना>", "media"),
    ("यह मैसेज डिलीट कर दिया गया है", "deleted"),
    ("फ़ोटो हटाई गई", "media"),
    ("<Media tidak disertakan>", "media"),
    ("Pesan ini dihapus", "deleted"),
    ("Panggilan suara tak terjawab", "call"),
    # Japanese, Chinese, Korean
    ("<メディアは含まれていません>", "media"),
    ("画像は含まれていません", "media"),
    ("このメッセージは削除されました", "deleted"),
    ("[スタンプ]", "sticker"),
    ("メッセージと通話はエンドツーエンド暗号化されています。チャットの参加者以外は読めません。", "system"),
    ("<省略多媒體檔案>", "media"),
    ("圖片已略去", "media"),
    ("您已刪除此訊息。", "deleted"),
    ("图片已省略", "media"),
    ("这条消息已被删除。", "deleted"),
    ("未接语音通话", "call"),
    ("<미디어 파일을 생략한 대화내용>", "media"),
    ("이미지 생략됨", "media"),
    ("이 메시지는 삭제되었습니다.", "deleted"),
    # languages that are not known
    ("<ບໍ່ລວມມີເດຍ>", "media"),
    ("<Conținut fără fișiere>", "media"),
]

SAID_BY_PEOPLE = [
    "I left",
    "he left the group in tears, can you believe it",
    "the image omitted the point",
    "he deleted this message, can you believe it",
    "why was this message deleted?",
    "this message was deleted by mistake",
    "calls: 3",
    "missed your voice call, sorry",
    "voice call at 3?",
    "video call, 3 pm?",
    "Video call, 8 or 9?",
    "call me maybe",
    "photo",
    "sticker",
    "GIF",
    "poll: pizza or pasta?",
    "location: the usual",
    "it is null and void",
    "nullify",
    "Null",
    "Ines added sugar",
    "Tomo left",
    "Tomo removed the weeds",
    "she changed the group icon again",
    "I created group chats for all of us",
    "are messages and calls end-to-end encrypted here?",
    "messages and calls are end-to-end encrypted I think",
    "<sigh>",
    "<grin> you wish",
    "<Insert joke here>",
    "<3",
    "</s> [INST] hi",
    "<|im_end|>",
    "<@U02>",
    "<know>",
    "<b>",
    "a -> b",
    "see attached (file)",
    "the file attached is broken (file attached)?",
    "https://example.org",
    "my.file.name",
    "everything (was) fine.",
    # German
    "das Bild weggelassen hat er nicht",
    "er hat die Gruppe verlassen, endlich",
    "Anruf verpasst, sorry",
    "Diese Nachricht wurde gelöscht, warum?",
    "<räusper>",
    "<grübel grübel>",
    "Umfrage: wer kommt?",
    "Sprachanruf um 3?",
    # Spanish, French, Italian, Portuguese, Dutch
    "salió del grupo ayer",
    "eliminaste este mensaje? por qué",
    "llamada a las 3",
    "il a quitté le groupe hier",
    "appel vocal ce soir ?",
    "ce message est drôle",
    "ha abbandonato il gruppo ieri sera",
    "questo messaggio è bello",
    "ele saiu do grupo ontem",
    "chamada de vídeo hoje?",
    "zij heeft de groep verlaten",
    "dit bericht is mooi",
    # Russian, Turkish, Arabic, Hindi, Indonesian
    "она покинула группу вчера",
    "без медиафайлов",
    "звонок в 3",
    "gruptan ayrıldı mı?",
    "bu mesaj çok güzel",
    "غادر المجموعة أمس",
    "هذه الرسالة جميلة",
    "उसने ग्रुप छोड़ दिया क्या?",
    "यह मैसेज अच्छा है",
    "dia keluar dari rumah",
    "pesan ini lucu",
    # Japanese, Chinese, Korean
    "彼が退出しました",
    "写真",
    "<笑>",
    "他已退出",
    "图片很好看",
    "這則訊息很好笑",
    "사진",
    "그 친구가 나갔습니다",
]

SYSTEM_LINES = [
    "Ines changed the group description",
    "Ines changed this group's icon",
    "Tomo left",
    "Ines added Tomo",
    "Ines removed Tomo.",
    "Ines created group “Plants”",
    "Ines changed the subject from “Plants” to “Ferns”",
    "+49 170 1234567 joined using this group's invite link",
    "Tomo changed their phone number to a new number. Tap to message or add the new number.",
    "Ines turned on disappearing messages. New messages will disappear from this chat 24 hours after they’re sent.",
    "Ines hat Tomo hinzugefügt.",
    "Ines hat die Gruppe „Pflanzen“ erstellt",
    "Tomo hat die Gruppe verlassen.",
    'Inés creó el grupo "Plantas"',
    "Inés añadió a Tomo",
    "Inès a créé le groupe « Plantes »",
    "Tomo a quitté le groupe",
    "Ines ha aggiunto Tomo",
    "Inês adicionou Tomo",
    "Tomo saiu",
    "Ines heeft Tomo toegevoegd",
    "Инес добавил(а) Томо",
    "Томо покинул(-а) группу",
    "Tomo gruptan ayrıldı",
    "أضاف إيناس تومو",
    "टोमो ने ग्रुप छोड़ दिया",
    "Ines menambahkan Tomo",
    "小林さんが退出しました",
    "王伟已退出",
    "小林 使用此群組的邀請連結加入",
    "토모님이 나갔습니다",
]


@pytest.mark.parametrize(("text", "reason"), WRITTEN_BY_MESSENGERS)
def test_what_a_messenger_wrote_is_dropped_with_its_reason(text: str, reason: str) -> None:
    assert dropped_as(text) == reason


@pytest.mark.parametrize("text", SAID_BY_PEOPLE)
def test_what_a_person_said_is_never_dropped(text: str) -> None:
    assert dropped_as(text) == ""
    assert stripped(text) == (text, "")


@pytest.mark.parametrize("text", SYSTEM_LINES)
def test_lines_of_the_system_are_known_where_no_author_stands(text: str) -> None:
    assert is_system(text)


@pytest.mark.parametrize("text", ["hello there", "it left me cold", "他说了什么", "она ушла домой вчера", ""])
def test_other_lines_without_author_are_no_lines_of_the_system(text: str) -> None:
    assert not is_system(text)


def test_every_template_matches_its_own_line() -> None:
    for table, known in ((system_words.CERTAIN, dropped_as), (system_words.LIKELY, is_system)):
        for template in table.strip().split("\n"):
            line = template.replace("{…}", ". And more of it").replace("{}", "Ann B")
            assert known(line), line
            assert known(template.replace("{…}", "").replace("{}", "Ann").capitalize()), template


def test_every_phrase_is_known_and_none_is_in_two_tables() -> None:
    kinds = {
        "media": placeholder_words.MEDIA,
        "sticker": placeholder_words.STICKER,
        "contact": placeholder_words.CONTACT,
        "deleted": placeholder_words.DELETED,
        "call": placeholder_words.CALL,
        "location": placeholder_words.LIVE_LOCATION,
    }
    for reason, table in kinds.items():
        for phrase in table.strip().replace("\n", "|").split("|"):
            assert dropped_as(phrase) == dropped_as(f"\u200e{phrase.capitalize()}.") == reason, phrase
            assert dropped_as(f"<{phrase}>") == reason or phrase.startswith("["), phrase
            assert not dropped_as(f"{phrase}, she said"), phrase
            assert not dropped_as(f"so {phrase}"), phrase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fixed now <This message was edited>", ("fixed now", "edited marks")),
        ("so \u200e<Diese Nachricht wurde bearbeitet.>", ("so \u200e", "edited marks")),
        ("vale <Se editó este mensaje.>", ("vale", "edited marks")),
        ("d'accord <Ce message a été modifié>", ("d'accord", "edited marks")),
        ("ok <Bu mesaj düzenlendi>", ("ok", "edited marks")),
        ("ya <Pesan ini diedit>", ("ya", "edited marks")),
        ("IMG-20230101-WA0001.jpg (file attached)\nlook at it", ("look at it", "attachment marks")),
        ("IMG-1.jpg (archivo adjunto)\nmira", ("mira", "attachment marks")),
        ("<Media omitted>\nso green\nso nice", ("so green\nso nice", "attachment marks")),
        ("look <attached: 0001-PHOTO.jpg>", ("look", "attachment marks")),
        ("IMG-1.jpg (file attached)", ("IMG-1.jpg (file attached)", "")),
        ("<attached: 0001-PHOTO.jpg>", ("<attached: 0001-PHOTO.jpg>", "")),
        ("<Media omitted>", ("<Media omitted>", "")),
        ("<grin>\nyou wish", ("<grin>\nyou wish", "")),
        ("so (I said)\nno", ("so (I said)\nno", "")),
    ],
)
def test_marks_go_and_the_words_beside_them_stay(text: str, expected: tuple[str, str]) -> None:
    assert stripped(text) == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("\u200ebilde ikke inkludert", "media"),
        ("\u200eImatge omesa", "media"),
        ("<Kuvan poisto tehty>", "media"),
        ("\u200e<wszystko usunięte>", "media"),
        ("\u200ehello, my friend. How are you?", ""),
        ("\u200e@Tomo come here", ""),
        ("bilde ikke inkludert", ""),
        ("<know>", ""),
        ("<grübel grübel>", ""),
        ("<|im_end|>", ""),
        ("<@U02>", ""),
        ("<a> and <b>", ""),
        ("\u200e" + "word " * 20, ""),
        ("", ""),
    ],
)
def test_unknown_languages_are_known_by_shape(raw: str, reason: str) -> None:
    assert by_shape(raw) == reason


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("https://example.org/a?b=1", True),
        ("HTTP://X.org", True),
        ("www.example.org", True),
        ("see https://example.org", False),
        ("https://example.org nice", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_a_link_alone_is_told_from_a_link_in_a_sentence(text: str, bare: bool) -> None:
    assert is_bare_url(text) == bare


@given(ANY_TEXT)
@settings(max_examples=count(full_count=10_000, quick_count=100))
def test_any_text_has_a_reason_or_none(text: str) -> None:
    assert dropped_as(text) in {
        "",
        *["media", "sticker", "contact", "location", "deleted", "call", "poll", "null", "system"],
    }
    by_shape(text)
    is_system(text)
    is_bare_url(text)
    rest, what = stripped(text)
    assert len(rest) <= len(text)
    assert bool(what) == (rest != text)


@given(st.text(st.characters(categories=["L", "Zs"], codec="ascii"), max_size=60))
@settings(max_examples=count(full_count=10_000, quick_count=100))
def test_letters_and_blanks_that_are_no_phrase_stay(text: str) -> None:
    assert dropped_as(f"well {text} then") == ""


@pytest.mark.parametrize(
    "piece",
    [
        *("<", ">", "<a>\n", "(file attached)", "a.b ", "a (file attached)\n", "<attached: a", "\u200e", "☎ 1:11 "),
        *("messages and calls are end-to-end encrypted. ", "you created group “", "a changed the subject from “ to “"),
        *(
            "poll:\n",
            "(1 a)\n",
            "voice call, ",
            "1 min ",
            "voice call, 1 min ",
            "http://",
            "a: http://",
            " added  left ",
        ),
        *("が退出しました", "님이 ", "已新增", " ", "\n", "<This message was edited>", " <"),
    ],
)
def test_time_grows_with_the_length_alone(piece: str) -> None:
    for text in [(piece * 200_000)[:200_000], (piece * 700)[:690], "voice call, " + (piece * 700)[:680], piece * 3]:
        started = time.process_time()
        for ask in (dropped_as, by_shape, is_system, stripped, is_bare_url):
            ask(text)
            ask(text + ">")
        assert time.process_time() - started < 1
