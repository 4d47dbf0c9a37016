"""From a pretrained encoder's WordPiece vocabulary to a smaller one of our own, and the mapping back.

Ours has our control tokens, then those of the encoder's pieces that occur in the training texts.
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
    plain = json.loads(theirs.to_json())
    if plain["model"]["type"] != "WordPiece":
        raise ConfigError(
            f"model.pieces_of: its vocabulary is a {plain['model']['type']}, not word pieces",
            hint="--set model.pieces_of=minilm, or a folder with a BERT",
        )
    counts = Counter(row for text in texts for row in theirs.encode(text))
    prefix = str(plain["model"]["continuing_subword_prefix"])
    by_row = {row: piece for piece, row in theirs.rows().items() if not MARK.fullmatch(piece)}
    letters = set("".join(by_row[row].removeprefix(prefix) for row in counts if row in by_row))
    spelt = [row for row, piece in by_row.items() if piece.removeprefix(prefix) in letters]
    often = [row for row, times in counts.most_common() if times >= min_count and row in by_row]
    names = [*PIECE_TOKENS, *control]
    kept = sorted(list(dict.fromkeys([*spelt, *often]))[: max(max_size - len(names), 0)])
    vocabulary = {name: number for number, name in enumerate([*names, *(by_row[row] for row in kept)])}
    source = HFTokenizer.from_str(theirs.to_json())
    made = HFTokenizer(models.WordPiece(vocabulary, unk_token=PIECE_TOKENS[1], continuing_subword_prefix=prefix))
    made.normalizer, made.pre_tokenizer = source.normalizer, source.pre_tokenizer
    made.decoder = decoders.WordPiece(prefix=prefix)
    made.add_special_tokens(names)
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
