"""What a text tells about where people live, how they are reached and what they pay with: counted, or replaced.

Rather too little is found than too much: a date, a price or an order number is nobody's telephone.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator

LINKS = "links"
EMAILS = "e-mail addresses"
IBANS = "IBANs"
CARDS = "card numbers"
PHONES = "phone numbers"
ADDRESSES = "postal addresses"
# Of the warnings about them.
CODES = {
    LINKS: "links",
    EMAILS: "email_addresses",
    IBANS: "ibans",
    CARDS: "card_numbers",
    PHONES: "phone_numbers",
    ADDRESSES: "postal_addresses",
}

_worth_a_look = re.compile(r"[\d@/]|[wW]{3}\.").search
_digits = re.compile(r"\d[\d \xa0\u202f./()-]{6,}\d").search
# fmt: off
_STREETS = frozenset([
    "street", "st", "road", "rd", "avenue", "ave", "lane", "ln", "drive", "dr", "boulevard", "blvd", "court", "ct",
    "square", "terrace", "crescent", "close", "rue", "av", "bd", "impasse", "allée", "chemin", "quai", "place",
    "cours", "route", "calle", "avenida", "avda", "plaza", "paseo", "camino",
])
# fmt: on
_STREET_PARTS = ("str", "gasse", "allee", "c/")
_Kind = tuple[str, re.Pattern[str], Callable[[re.Match[str]], str]]
_PASSES = 8  # what was replaced no longer hides what stood right beside it

# A link, without the punctuation of the sentence around it. Brackets end it, so that no placeholder is part of one.
_REST = r"""(?:[^\s<>\[\]]*[^\s<>\[\].,;:!?)}'"»…])"""
_link = re.compile(
    rf"[a-z][a-z0-9+.-]{{1,15}}://{_REST}|(?<![\w.])www\.[\w-]{{1,63}}\.{_REST}"
    rf"|(?<![\w.])(?:wa\.me|t\.me|bit\.ly|youtu\.be|goo\.gl|chat\.whatsapp\.com)/{_REST}",
    re.I,
)
_email = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")

_iban = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?:[ \xa0]?[A-Za-z0-9]){11,30}", re.ASCII)
_LENGTHS = (
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23GL18"
    "GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15"
    "PK24PL28PS29PT25QA29RO24RS22SA24SC31SD18SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20"
)
_IBAN_LENGTH = {_LENGTHS[at : at + 2]: int(_LENGTHS[at + 2 : at + 4]) for at in range(0, len(_LENGTHS), 4)}

_card = re.compile(r"(?<![\d+.,-])(?<!\d )[2-6](?:[ -]?[0-9]){12,18}(?![ -]?\d)(?!\w)")

_SEPARATOR = r"[ \xa0\u202f./()-]{0,3}"
_BEFORE = r"(?<![\w+#№$€£])(?<![$€£] )(?<!\d[.,:/-])"
_AFTER = r"(?!\w|[.,:/-]\d|\s?[€$£%])"
_phone = re.compile(
    rf"{_BEFORE}(?:"
    rf"(?:\+|00)\s?[1-9](?:{_SEPARATOR}\d){{8,14}}"  # international
    rf"|\(?0[1-9](?:[ \xa0()/-]{{0,2}}\d){{7,10}}"  # national, a zero in front
    r"|0[1-9](?:\.\d\d){4}"  # French
    r"|(?:1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])[2-9]\d\d[-. ]\d{4}"  # North American
    r"|8[ -]?\(?9\d\d\)?[ -]?\d{3}[ -]?\d\d[ -]?\d\d"  # Russian
    r"|\(\d\d\) ?9?\d{4}-\d{4}"  # Brazilian
    rf"){_AFTER}"
)
_called = re.compile(
    r"\b(?:call|phone|mobile|cell|tel|telephone|whatsapp|handy|telefon|mobil|móvil|celular|teléfono|téléphone|portable|"
    rf"telefono|cellulare|телефон|номер телефона|電話|电话|手机)\W{{1,3}}(?:\w{{1,8}}\W{{1,2}}){{0,2}}"
    rf"(?P<number>(?<!\d)[1-9](?:[ -]?\d){{6,12}}){_AFTER}",
    re.I,
)
_ordered = re.compile(
    r"(?:#|№|\b(?:order|invoice|ticket|ref|reference|tracking|parcel|bestell|rechnung|auftrag|sendung|kunden|commande|"
    r"facture|colis|pedido|factura|заказ)\w{0,10})[^\d\n]{0,12}$",
    re.I,
).search
_in_an_account = re.compile(r"(?<!\w)[A-Z]{2}\d\d[ 0-9A-Z]{0,30} $", re.ASCII).search
_date = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{2,4}(?![./-]?\d)|\d\d \d\d (?:19|20)\d\d(?!\d)").match

_NAME = r"[A-ZÀ-ÖØ-Þ][\w'’.-]{1,30}"
_OF = r"(?:(?:de|du|des|la|las|los|el|del|d'|l'|d’|l’)\s?){0,2}"
_UNIT = r"(?!\w|[.,:]\d| ?(?:min|std|stunde|uhr|km|m\b|jahr|tag|woche|mal|euro|€|%))"
_address = re.compile(
    rf"(?<![\w.,])\d{{1,5}}[A-Za-z]?,? (?:{_NAME} ){{1,3}}"
    r"(?i:street|st|road|rd|avenue|ave|lane|ln|drive|dr|boulevard|blvd|court|ct|square|terrace|crescent|close)\b\.?"
    rf"|(?<!\w)(?!(?i:sack)gasse)[A-ZÄÖÜ][\w.-]{{0,30}}(?i:straße|strasse|str\.|gasse|allee) ?\d{{1,4}} ?[a-z]?{_UNIT}"
    rf"|(?<!\w)(?:Straße|Strasse) (?:de[rs] )?{_NAME} \d{{1,4}}[a-z]?{_UNIT}"
    r"|(?<![\w.,])\d{1,4}(?: ?(?:bis|ter))?,? "
    r"(?i:rue|avenue|av\.|boulevard|bd|impasse|allée|chemin|quai|place|cours|route)"
    rf" {_OF}{_NAME}(?: {_OF}{_NAME}){{0,3}}"
    rf"|(?<!\w)(?:(?i:calle|avenida|avda\.?|plaza|paseo|camino) |(?i:c/) ?){_OF}{_NAME}(?: {_OF}{_NAME}){{0,3}}"
    r",? ?(?:n[º°o.] ?)?\d{1,4}(?!\w|[.,:]\d)"
)


def count_private(text: str, counts: Counter[str]) -> None:
    """Add what the text holds to the counts, by kind; nothing counts twice."""
    if _worth_a_look(text) is not None:
        _replaced(text, counts)


def redacted(text: str) -> str:
    """Return the text with each private detail replaced by a placeholder of its kind."""
    return text if _worth_a_look(text) is None else _replaced(text, Counter())


def _replaced(text: str, counts: Counter[str]) -> str:
    for _ in range(_PASSES):
        before = text
        for kind, pattern, replaced in _kinds_in(text):
            text = _without(text, kind, pattern, replaced, counts)
        if text == before:
            break
    return text


def _kinds_in(text: str) -> Iterator[_Kind]:
    """Yield the kinds that the text may hold, seen at little cost, in the order in which they are taken."""
    if "/" in text or "www." in text.lower():
        yield LINKS, _link, _link_replaced
    if "@" in text:
        yield EMAILS, _email, _email_replaced
    if _digits(text):
        yield IBANS, _iban, _iban_replaced
        yield CARDS, _card, _card_replaced
        yield PHONES, _phone, _phone_replaced
        yield PHONES, _called, _called_replaced
    if _names_a_street(text.lower()):
        yield ADDRESSES, _address, _address_replaced


def _names_a_street(lower: str) -> bool:
    words = lower.replace(",", " ").replace(".", " ").split()
    return not _STREETS.isdisjoint(words) or any(part in lower for part in _STREET_PARTS)


def _without(
    text: str, kind: str, pattern: re.Pattern[str], replaced: Callable[[re.Match[str]], str], counts: Counter[str]
) -> str:
    found = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal found
        new = replaced(match)
        found += new != match[0]
        return new

    text = pattern.sub(replace, text)
    if found:
        counts[kind] += found
    return text


def _link_replaced(_: re.Match[str]) -> str:
    return "[LINK]"


def _email_replaced(_: re.Match[str]) -> str:
    return "[EMAIL]"


def _address_replaced(_: re.Match[str]) -> str:
    return "[ADDRESS]"


def _iban_replaced(match: re.Match[str]) -> str:
    """Return the match without a right IBAN at its start; words in capitals may follow it."""
    length = _IBAN_LENGTH.get(match[0][:2].upper(), 0)
    taken = ""
    for at, character in enumerate(match[0]):
        if character not in " \xa0":
            taken += character
        if len(taken) == length:
            rest = match[0][at + 1 :]
            return f"[IBAN]{rest}" if not rest[:1].isalnum() and _is_iban(taken.upper()) else match[0]
    return match[0]


def _is_iban(number: str) -> bool:
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def _card_replaced(match: re.Match[str]) -> str:
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    total = sum(digits[-1::-2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    # Cards are written in one piece or in groups of four to six.
    groups = re.split("[ -]", match[0])
    return "[CARD]" if total % 10 == 0 and all(3 <= len(group) <= 19 for group in groups) else match[0]


def _phone_replaced(match: re.Match[str]) -> str:
    window = match.string[max(0, match.start() - 40) : match.start()]
    if _date(match[0]) or _ordered(window) or _in_an_account(window):
        return match[0]
    return "[PHONE]"


def _called_replaced(match: re.Match[str]) -> str:
    if _date(match["number"]):
        return match[0]
    return match[0][: match.start("number") - match.start()] + "[PHONE]"
