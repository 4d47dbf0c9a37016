"""From a pretrained encoder's WordPiece vocabulary to a smaller one, and the mapping back.

One of our own has our control tokens, then those of the encoder's pieces that occur in the training texts; a cut one
keeps the encoder's control tokens.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer as HFTokenizer
from tokenizers import decoders, models

from menura.batches.tokenizer import MARK, PIECE_TOKENS, Tokenizer
from menura.errors import ConfigError

# Our control tokens and BERT's; any other control token is unknown to it.
AS_BERT = {
    "<pad>": "[PAD]",
    "<unk>": "[UNK]",
    "<bos>": "[CLS]",
    "<eos>": "[SEP]",
    "<sep>": "[SEP]",
    "<mask>": "[MASK]",
}


def subset_of_pieces(
    theirs: Tokenizer, texts: Iterable[str], *, max_size: int, min_count: int = 1, control: Sequence[str] = ()
) -> Tokenizer:
    """Return a vocabulary of the most frequent of an encoder's pieces (``theirs``) in texts.

    It has at most ``max_size`` tokens, control tokens included: pieces that occur ``min_count`` times, and all letters
    that occur, with which words of rarer pieces are spelt. ConfigError for an encoder without word pieces.
    """
    hint = "--set model.pieces_of=minilm, or a folder with a BERT"
    names = [*PIECE_TOKENS, *control]
    kept = _occurring(theirs, texts, max(max_size - len(names), 0), min_count, ("model.pieces_of", hint))
    return _of_pieces(theirs, names, kept, unknown=PIECE_TOKENS[1])


def cut_to_occurring(
    theirs: Tokenizer, texts: Iterable[str], *, control: Sequence[str], max_size: int = 0, min_count: int = 1
) -> Tokenizer:
    """Return an encoder's vocabulary without the pieces that do not occur ``min_count`` times in texts.

    ``control`` are its control tokens that stay, the unknown token [UNK] among them. ``max_size`` bounds the tokens in
    all (0 = no bound). All letters that occur stay: a word whose piece was cut is spelt with smaller pieces, and only
    a letter that never occurs is [UNK]. ConfigError for a vocabulary without word pieces.
    """
    hint = "--set model.pieces=base"
    room = max(max_size - len(control), 0) if max_size else len(theirs)
    kept = _occurring(theirs, texts, room, min_count, ("model.pieces", hint))
    return _of_pieces(theirs, control, kept, unknown=AS_BERT[PIECE_TOKENS[1]])


def rows_in(theirs: Tokenizer, ours: Tokenizer) -> list[int]:
    """Return the row of each of our tokens in a vocabulary that ours was cut from."""
    known, by_row = theirs.rows(), {row: piece for piece, row in ours.rows().items()}
    return [known[by_row[row]] for row in range(len(ours))]


def _occurring(
    theirs: Tokenizer, texts: Iterable[str], most: int, min_count: int, setting: tuple[str, str]
) -> list[str]:
    """Return at most ``most`` pieces, in the order of their rows; ``setting``: what an error names, and its hint."""
    model = json.loads(theirs.to_json())["model"]
    if model["type"] != "WordPiece":
        name, hint = setting
        raise ConfigError(f"{name}: its vocabulary is a {model['type']}, not word pieces", hint=hint)
    counts = Counter(row for text in texts for row in theirs.encode(text))
    prefix = str(model["continuing_subword_prefix"])
    by_row = {row: piece for piece, row in theirs.rows().items() if not MARK.fullmatch(piece)}
    letters = set("".join(by_row[row].removeprefix(prefix) for row in counts if row in by_row))
    spelt = [row for row, piece in by_row.items() if piece.removeprefix(prefix) in letters]
    often = [row for row, times in counts.most_common() if times >= min_count and row in by_row]
    return [by_row[row] for row in sorted(list(dict.fromkeys([*spelt, *often]))[:most])]


def _of_pieces(theirs: Tokenizer, control: Sequence[str], pieces: Sequence[str], *, unknown: str) -> Tokenizer:
    """Return a vocabulary of control tokens and pieces that splits text as an encoder's does."""
    prefix = str(json.loads(theirs.to_json())["model"]["continuing_subword_prefix"])
    vocabulary = {name: number for number, name in enumerate([*control, *pieces])}
    source = HFTokenizer.from_str(theirs.to_json())
    made = HFTokenizer(models.WordPiece(vocabulary, unk_token=unknown, continuing_subword_prefix=prefix))
    made.normalizer, made.pre_tokenizer = source.normalizer, source.pre_tokenizer
    made.decoder = decoders.WordPiece(prefix=prefix)
    made.add_special_tokens(list(control))
    return Tokenizer(made, wordpiece=True)


def encoder_ids(ours: Tokenizer, theirs: Tokenizer) -> list[int]:
    """Return the encoder's id of each of our ids; ConfigError for a piece that it does not have."""
    known = theirs.rows()
    unknown = known[AS_BERT["<unk>"]]
    rows, missing = [unknown] * len(ours), []
    control = ours.never_said()
    for piece, row in ours.rows().items():
        if row in control:
            rows[row] = known.get(AS_BERT.get(piece, ""), unknown)
        elif piece in known:
            rows[row] = known[piece]
        else:
            missing.append(piece)
    if missing:
        raise ConfigError(
            f"model.pretrained_features: {len(missing)} word pieces are not the encoder's ({', '.join(missing[:3])})",
            hint="begin from a run of the same model.pieces_of",
        )
    return rows
