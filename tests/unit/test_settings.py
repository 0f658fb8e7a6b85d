from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.secret import Secret
from agent.settings import Settings, load


def test_defaults() -> None:
    assert load(environ={}) == Settings()


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "layer.toml"
    path.write_text(text)
    return path


def test_file(tmp_path: Path) -> None:
    settings = load(toml(tmp_path, "[aggregator]\nport = 9000\n"), environ={})
    assert settings.aggregator.port == 9000


def test_environment_beats_file(tmp_path: Path) -> None:
    path = toml(tmp_path, "[aggregator]\nport = 9000\n")
    assert load(path, {"KUBECHAT_OBS_AGGREGATOR_PORT": "9001"}).aggregator.port == 9001


def test_well_known_names() -> None:
    settings = load(environ={"DATABASE_URL": "postgresql://u:p@h/d", "RAY_ADDRESS": "auto"})
    assert settings.database.url.reveal() == "postgresql://u:p@h/d"
    assert settings.ray.address == "auto"


def test_well_known_names_may_be_empty() -> None:
    assert load(environ={"DATABASE_URL": ""}) == Settings()


def test_names_of_the_command_line_are_not_settings() -> None:
    environ = {f"KUBECHAT_OBS_{name}": "x" for name in ("CONFIG", "URL", "TOKEN")}
    assert load(environ=environ) == Settings()


def test_other_variables_are_left_alone() -> None:
    assert load(environ={"HOME": "/", "KUBECHAT_PORT": "1"}) == Settings()


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"KUBECHAT_OBS_AGGREGATOR_PORT": "many"}, ("aggregator.port", "'many'", "a whole number")),
        ({"KUBECHAT_OBS_AGGREGATOR_PORT": "70000"}, ("aggregator.port", "70000", "at most 65535")),
        ({"KUBECHAT_OBS_AGGREGATOR_PROT": "1"}, ("KUBECHAT_OBS_AGGREGATOR_PROT", "docs/settings.md")),
        ({"KUBECHAT_OBS_AGGREGATOR_PROT": "1"}, ("KUBECHAT_OBS_AGGREGATOR_PORT, or another",)),
        ({"KUBECHAT_OBS_KITCHEN_PORT": "1"}, ("KUBECHAT_OBS_KITCHEN_PORT",)),
        ({"KUBECHAT_OBS_STREAMS_LATENESS_S": "inf"}, ("streams.lateness_s", "'inf'", "and finite")),
        ({"KUBECHAT_OBS_STREAMS_LATENESS_S": "nan"}, ("streams.lateness_s", "'nan'", "and finite")),
        ({"KUBECHAT_OBS_STREAMS_COUNT": "9" * 400}, ("streams.count", "a whole number")),
        ({"KUBECHAT_OBS_GENERAL_LOG_LEVEL": "loud"}, ("general.log_level", "debug, info, warning, error")),
        ({"KUBECHAT_OBS_GENERAL_SELF_TRACING": "maybe"}, ("general.self_tracing", "true or false")),
        ({"KUBECHAT_OBS_AGGREGATOR_HEARTBEAT_S": "0"}, ("aggregator.heartbeat_s", "at least 1")),
        ({"KUBECHAT_OBS_GATEWAY_HOST": "0.0.0.0"}, ("gateway.auth_token", "a token")),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], words: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as refused:
        load(environ=environ)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[aggregator]\nprot = 1\n", "aggregator.prot"),
        ("[kitchen]\nport = 1\n", "kitchen"),
        ("port = 1\n", "port"),
        ("[aggregator\n", "valid TOML"),
        ("[aggregator]\nport = true\n", "a whole number"),
        ("[aggregator]\nhost = 5\n", "a text"),
        ("[streams]\nlateness_s = inf\n", "and finite"),
        ("[streams]\ncount = inf\n", "and finite"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        load(toml(tmp_path, text), environ={})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a TOML file that exists"):
        load(tmp_path / "none.toml", environ={})


def test_exposed_with_a_token() -> None:
    environ = {"KUBECHAT_OBS_GATEWAY_HOST": "0.0.0.0", "KUBECHAT_OBS_GATEWAY_AUTH_TOKEN": "t"}
    assert load(environ=environ).gateway.auth_token == Secret("t")


def test_secrets_never_print() -> None:
    settings = load(
        environ={"DATABASE_URL": "postgresql://u:hush@h/d", "KUBECHAT_OBS_AGGREGATOR_AUTH_TOKEN": "hush"}
    )
    assert "hush" not in repr(settings)
    assert "hush" not in f"{settings.database.url}"


@pytest.mark.parametrize(
    "environ",
    [{"KUBECHAT_OBS_GATEWAY_AUTHTOKEN": "hush"}, {"KUBECHAT_OBS_SECRET": "hush"}],
    ids=["key", "section"],
)
def test_a_secret_under_a_misspelt_name_does_not_print(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as refused:
        load(environ=environ)
    assert "hush" not in f"{refused.value} {refused.value!r}"


@pytest.mark.parametrize(
    "text",
    ['[gateway]\nauthtoken = "hush"\n', '[gatewy]\nauth_token = "hush"\n', 'auth_token = "hush"\n', "[gateway]\nauth_token = ['hush']\n"],
    ids=["key", "section", "no section", "no text"],
)  # fmt: skip
def test_a_secret_in_the_wrong_place_of_a_file_does_not_print(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(toml(tmp_path, text), environ={})
    assert "hush" not in f"{refused.value} {refused.value!r}"


def test_settings_travel_to_other_processes() -> None:
    settings = load(environ={"DATABASE_URL": "postgresql://u:p@h/d"})
    assert pickle.loads(pickle.dumps(settings)) == settings
