"""The page about governance: each command runs on a devnet, whose three governors hold keys in a keystore."""

from __future__ import annotations

import json

import pytest

SECRET = "--password-file password"


@pytest.mark.slow
def test_every_command_of_the_page_runs_and_the_law_changes_as_it_says(place, devnet, page):
    (place.directory / "password").write_text("correct horse")
    for number in range(3):
        seed = (place.directory / "net" / f"governor-{number}.seed").read_bytes()
        (place.directory / "seed").write_text(seed.hex())
        place.run(f"keephold account import governor{number} --unsafe-seed-file seed {SECRET}")
    for command in page("operate/governing.md").commands():
        assert command.startswith("keephold govern ")
        said = place.run(f"{command} {SECRET}" if "--as" in command else command)
        _, named, file = command.partition(" --out ")
        assert "changes:" in said or not named
        if file in ("", "change"):  # the page signs and submits this one itself
            continue
        for number in (0, 1):
            place.run(f"keephold govern sign {file} --network net --as governor{number} {SECRET}")
        place.run(f"keephold govern submit {file} --network net --as governor2 {SECRET}")

    after = json.loads(place.run("keephold govern show --network net --json"))
    assert len(after["history"]) == 8
    assert all(item["changes"] for item in after["history"])
    first = after["history"][0]
    assert first["changes"] == ["seats of the committee: 3 → 5", "gatekeepers that make a key: 2 → 3"]
    assert len(first["signed_by"]) == 2
    assert "governance: 2 of 4 keys amend the law, after a delay of 7 days" in after["law"]
    assert after["history"][5]["effective"] is None, (
        "what came after the delay was set waited for it, and was cancelled"
    )
    assert not after["pending"]
    assert not any("has power 5" in line for line in after["law"])
    assert any("is revoked" in line for line in after["law"])
