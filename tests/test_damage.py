"""Files that are damaged at random, read in other processes, as in training."""

import damage


def test_damaged_files_cause_no_crash_no_hang_and_no_unexpected_error():
    found = damage.outcomes(first=0, count=2000)
    assert damage.faults(found) == {}
    assert sum(result in (damage.READ, damage.PART) for result in found.values()) > 1000


def test_faults_are_noticed(monkeypatch):
    def broken(data: bytes) -> None:
        raise ValueError("it is damaged")

    monkeypatch.setattr(damage.midi, "parse", broken)
    assert set(damage.faults({i: damage.outcome(i) for i in range(20)}).values()) == {damage.REFUSED}
