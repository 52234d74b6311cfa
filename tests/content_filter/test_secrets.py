"""What counts as a secret, and what does not. None of these has ever opened anything: they are put together here."""

import random
import string

import pytest

from freehold.content_filter.secrets import SecretDetector
from freehold.types.content_filter import Passage, Side

DETECTOR = SecretDetector()
_DRAW = random.Random(6)


def drawn(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Random characters, with at least one digit."""
    return "".join(_DRAW.choices(alphabet, k=length - 1)) + "7"


def found(text: str) -> list[tuple[str, str]]:
    """The kinds and the pieces of the text that are found."""
    spans = DETECTOR(Passage(text, Side.PROMPT)).spans
    assert all(span.kind == "secret" for span in spans)
    return [(span.name, text[span.start : span.end]) for span in spans]


HEX = string.digits + "abcdef"
SECRETS = {
    "aws_access_key": "AKIA" + "".join(_DRAW.choices("ABCDEFGH234567", k=16)),
    "github_token": "ghp_" + drawn(36),
    "gitlab_token": "glpat-" + drawn(20),
    "slack_token": "xoxb-" + drawn(12, string.digits) + "-" + drawn(24),
    "slack_webhook": f"https://hooks.slack.com/services/T{drawn(9)}/B{drawn(9)}/{drawn(24)}",
    "google_api_key": "AIza" + drawn(35),
    "google_oauth_token": "ya29." + drawn(40),
    "stripe_key": "sk_live_" + drawn(24),
    "openai_key": "sk-proj-" + drawn(48),
    "anthropic_key": "sk-ant-api03-" + drawn(80),
    "huggingface_token": "hf_" + drawn(34),
    "npm_token": "npm_" + drawn(36),
    "pypi_token": "pypi-AgE" + drawn(80),
    "sendgrid_key": f"SG.{drawn(22)}.{drawn(43)}",
    "digitalocean_token": "dop_v1_" + drawn(64, HEX),
    "freehold_key": "fh-" + drawn(43),
    "jwt": f"eyJ{drawn(30)}.eyJ{drawn(60)}.{drawn(43)}",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_makers_key_is_told_by_its_form(kind: str) -> None:
    """A key is found wherever it stands, with its maker's kind, and its span is just it."""
    secret = SECRETS[kind]
    for text in (secret, f"my key is {secret}.", f'export API_KEY="{secret}"', f"({secret})\nand more 🙂"):
        assert found(text) == [(kind, secret)], text


@pytest.mark.parametrize(
    ("kind", "text", "secret"),
    [
        ("azure_key", "AccountName=x;AccountKey={};EndpointSuffix=core", drawn(86) + "=="),
        ("azure_sas_token", "https://x.blob.example/c?sv=2024&sig={}", drawn(43) + "%3D"),
        ("connection_string", "postgres://app:{}@db.example.org:5432/x", "s3cr3t-pass"),
        ("connection_string", "amqps://{}@queue", None),
        ("generic_key", "api_key = '{}'", drawn(32)),
        ("generic_key", 'client_secret: "{}"', drawn(40)),
        ("generic_key", "Authorization: Bearer {}", drawn(40)),
        ("generic_key", "the token is {}", drawn(24)),
        ("generic_key", "SUBSCRIPTION-KEY: {}", drawn(32, HEX)),
        ("generic_key", "api-key={}", "123e4567-e89b-42d3-a456-426614174000"),
    ],
)
def test_a_secret_is_told_by_what_names_it(kind: str, text: str, secret: str | None) -> None:
    """What is called a key or a password and looks drawn at random is found, without its name."""
    expected = [] if secret is None else [(kind, secret)]
    assert found(text.format(secret or "user")) == expected


def test_a_private_key_is_found_whole() -> None:
    """A private key is found from its first line to its last, or to the text's end where it is cut off."""
    body = "\n".join(drawn(64) for _ in range(3))
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    assert found(f"see {key} there") == [("private_key", key)]
    assert found(f"see {key[:120]}") == [("private_key", key[:120])]
    assert found(key.replace("RSA PRIVATE", "PUBLIC")) == []


@pytest.mark.parametrize(
    "text",
    [
        "The key takeaways of the 2024 meeting: none.",
        "token = tokenizer.from_pretrained('gpt2-medium-1234')",
        "API_KEY=your-api-key-goes-here-1234",
        "api_key: EXAMPLE1234567890abcd",
        'password = os.environ["DATABASE_PASSWORD_2"]',
        "secret: ${VAULT_SECRET_PATH_2024}",
        "key = aaaaaaaaaaaaaaaaaaaaa1",
        "cache-key: npm-linux-2024-lock-file-hash",
        "postgres://user:$PASSWORD@db.example.org/x and http://x:********@y",
        "sk-learn-for-everybody-and-all, task-force, risk-averse and hf_hub_download",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "https://example.org/a?b=c@d",
        "eyJ is how they begin",
        "keys: value",
        "def __init__(self, key: Ed25519PrivateKey) -> None:",
        "postgres://user:password@host/database",
        "",
    ],
)
def test_what_is_no_secret_is_not_found(text: str) -> None:
    """Words about keys, placeholders, references to secrets, and digests are not secrets."""
    assert found(text) == []


@pytest.mark.parametrize(
    ("piece", "times"),
    [
        ("eyJ", 0),
        ("sk-", 0),
        ("key = ", 0),
        ("a://b:", 0),
        ("-----BEGIN PRIVATE KEY-----", 1),
        ("key:" + "a1" * 20, 0),
        ("ghp_a1", 0),
        ("key=a1b2c3d4e5f6g7h8 ", 3000),
    ],
)
def test_a_long_text_is_examined_to_its_end(piece: str, times: int) -> None:
    """Texts made to be slow are examined, and what is found many times is found each time."""
    assert len(found(piece * 3000)) == times
