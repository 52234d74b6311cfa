"""Policy files that a configuration takes in."""

from pathlib import Path

import pytest

from freehold.config import load_settings
from freehold.errors import ConfigError

POLICY = '[[policy]]\nname = "{}"\nzones = ["eu"]\n'
LIMIT = '[[limit]]\nscope = "key"\nid = "*"\nrequests_per_minute = 1\n'


def written(folder: Path, name: str, text: str) -> Path:
    """A file in a folder."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_policies_cases_and_limits_are_taken_in(tmp_path: Path) -> None:
    """Files are found from the configuration's folder on, by path, pattern and absolute path; all blocks count."""
    case = '[[case]]\nname = "c"\nrequest = { deployment = "x" }\nexpect = "deny"\n'
    written(tmp_path, "policies/b.toml", POLICY.format("b") + LIMIT)
    written(tmp_path, "policies/a.toml", POLICY.format("a") + case)
    elsewhere = written(tmp_path, "elsewhere/c.toml", POLICY.format("c"))
    main = written(
        tmp_path, "freehold.toml", f'policies = ["policies/*.toml", "{elsewhere}"]\n' + POLICY.format("main")
    )
    settings = load_settings(main)
    assert [policy.name for policy in settings.policy] == ["main", "a", "b", "c"]
    assert [case.name for case in settings.case] == ["c"]
    assert [limit.requests_per_minute for limit in settings.limit] == [1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[policy]]\nname = "b"\nzone = ["eu"]\n', "a.toml: policy[0].zone: unknown key; did you mean 'zones'?"),
        ("[server]\nport = 1\n", "a.toml: server: unknown key"),
        ("[[policy", "a.toml: is not valid TOML"),
        (POLICY.format("main"), "policy[1]: there is already a policy 'main'"),
        (LIMIT, "limit[1]: there is already a limit of key '*'"),
    ],
)
def test_what_is_wrong_in_a_policy_file_is_told_with_its_name(tmp_path: Path, text: str, told: str) -> None:
    """A wrong key, another block, no TOML and a name that is taken stop the reading."""
    written(tmp_path, "a.toml", text)
    main = written(tmp_path, "freehold.toml", 'policies = ["a.toml"]\n' + POLICY.format("main") + LIMIT)
    with pytest.raises(ConfigError) as caught:
        load_settings(main)
    assert told in caught.value.message
