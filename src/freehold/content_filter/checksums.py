"""The check digits of cards, bank accounts and identity numbers: each function tells whether they are right.

The arguments are what the numbers are made of, without what stands between the groups.
"""

from datetime import date

_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_ODD_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_ODD_LETTERS = (*_ODD_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (*_ODD_DIGITS, *_ODD_LETTERS), strict=True))
"""What a character at an odd place of a codice fiscale counts (decree of 23 December 1976)."""
_VERHOEFF = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_PERMUTED = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)

_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in (
        line.split(":")
        for line in (
            "15:NO",
            "16:BE",
            "18:DK FI FK FO GL NL SD",
            "19:MK SI",
            "20:AT BA EE KZ LT LU MN XK",
            "21:CH CR HR LI LV",
            "22:BG BH DE GB GE IE ME RS VA",
            "23:AE GI IL IQ OM SO TL",
            "24:AD CZ ES MD PK RO SA SE SK TN VG",
            "25:LY PT ST",
            "26:IS TR",
            "27:BI DJ FR GR IT MC MR SM",
            "28:AL AZ BY CY DO GT HU LB NI PL SV",
            "29:BR EG PS QA UA",
            "30:JO KW MU YE",
            "31:MT SC",
            "32:LC",
            "33:RU",
        )
    )
    for country in countries.split()
}
"""How long the numbers of a country are (registry of ISO 13616)."""


def iban_length(country: str) -> int | None:
    """How many characters an IBAN of a country has; None where there are none."""
    return _IBAN_LENGTHS.get(country)


def iban(text: str) -> bool:
    """An international bank account number, in capitals: ISO 7064, modulo 97."""
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def luhn(digits: str) -> bool:
    """Cards, and Swedish and Canadian numbers: ISO/IEC 7812-1, annex B."""
    total = sum(int(digit) for digit in digits[-1::-2])
    total += sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return total % 10 == 0


def card(digits: str) -> bool:
    """A payment card: a number that a network gives out, of its length, with its check digit."""
    length, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        fits = length in {13, 16, 19}
    elif 51 <= two <= 55 or 2221 <= four <= 2720:
        fits = length == 16
    elif two in {34, 37}:
        fits = length == 15
    elif two in {36, 38, 39} or 300 <= three <= 305:
        fits = 14 <= length <= 19
    elif two in {62, 65} or four == 6011 or 644 <= three <= 649 or 3528 <= four <= 3589:
        fits = 16 <= length <= 19
    else:
        fits = two in {50, 56, 57, 58, 60, 63, 67} and length in {16, 18, 19}
    return fits and luhn(digits)


def ssn(digits: str) -> bool:
    """A United States social security number: it has no check digit, but rules for what is given out."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    shown = {"078051120", "219099999"}  # of an advertisement and of a leaflet
    return area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000" and digits not in shown


def dni(text: str) -> bool:
    """A Spanish DNI or NIE: the letter is that of the number modulo 23."""
    digits = text[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return text[-1] == _DNI[int(digits) % 23]


def codice_fiscale(text: str) -> bool:
    """An Italian tax code, of sixteen characters in capitals."""
    even = sum(int(character) if character.isdigit() else ord(character) - 65 for character in text[1:15:2])
    return chr(65 + (even + sum(_ODD[character] for character in text[0:15:2])) % 26) == text[15]


def nir(text: str) -> bool:
    """A French social security number with its key: 97 less the number modulo 97; 2A and 2B are Corsica's."""
    department = text[5:7]
    number = int(text[:13].replace("2A", "19").replace("2B", "18")) if department in {"2A", "2B"} else int(text[:13])
    return int(text[13:]) == 97 - number % 97


def bsn(digits: str) -> bool:
    """A Dutch citizen service number: the eleven test, with the last digit taken away."""
    total = sum(weight * int(digit) for weight, digit in zip(range(9, 1, -1), digits, strict=False))
    return (total - int(digits[8])) % 11 == 0 and digits != "0" * 9


def steuer_id(digits: str) -> bool:
    """A German tax identification number: ISO 7064, modulo 11, 10; of its first ten digits just one is repeated."""
    counts = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    if counts[-1] not in {2, 3} or counts[-2] != 1:
        return False
    product = 10
    for digit in digits[:10]:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return (11 - product) % 10 == int(digits[10])


def cpf(digits: str) -> bool:
    """A Brazilian taxpayer number: two check digits modulo 11."""
    if len(set(digits)) == 1:
        return False
    for known in (9, 10):
        total = sum(weight * int(digit) for weight, digit in zip(range(known + 1, 1, -1), digits, strict=False))
        if total * 10 % 11 % 10 != int(digits[known]):
            return False
    return True


def pesel(digits: str) -> bool:
    """A Polish PESEL: a date, with the century in the month, and a weighted check digit."""
    century, month = divmod(int(digits[2:4]), 20)
    year = {4: 1800, 0: 1900, 1: 2000, 2: 2100, 3: 2200}[century] + int(digits[:2])
    total = sum(weight * int(digit) for weight, digit in zip((1, 3, 7, 9, 1, 3, 7, 9, 1, 3), digits, strict=False))
    return _is_date(year, month, int(digits[4:6])) and -total % 10 == int(digits[10])


def hetu(text: str) -> bool:
    """A Finnish identity code: a date and a letter or digit, the number modulo 31."""
    number = int(text[:6] + text[7:10])
    return _is_date(2000 + int(text[4:6]), int(text[2:4]), int(text[:2])) and text[10] == _HETU[number % 31]


def personnummer(digits: str) -> bool:
    """A Swedish identity number of ten digits: a date, or one with 60 added to its day, and a check digit."""
    day = int(digits[4:6])
    return _is_date(2000 + int(digits[:2]), int(digits[2:4]), day - 60 if day > 60 else day) and luhn(digits)


def rijksregister(digits: str) -> bool:
    """A Belgian national number: 97 less the number modulo 97, with a 2 before it for those born since 2000."""
    return int(digits[9:]) in {97 - int(before + digits[:9]) % 97 for before in ("", "2")}


def ahv(digits: str) -> bool:
    """A Swiss social security number: the check digit of an EAN-13."""
    total = sum((3 if place % 2 else 1) * int(digit) for place, digit in enumerate(digits[:12]))
    return -total % 10 == int(digits[12])


def aadhaar(digits: str) -> bool:
    """An Indian identity number: Verhoeff's check digit."""
    checked = 0
    for place, digit in enumerate(reversed(digits)):
        permuted = int(digit)
        for _ in range(place % 8):
            permuted = _PERMUTED[permuted]
        checked = _VERHOEFF[checked][permuted]
    return checked == 0


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
