from actors.clock import SimulatedClock, SystemClock, clock_at


def test_a_simulated_clock_stands_until_it_is_released(tmp_path):
    start = 1_798_358_400_000
    mine = SimulatedClock(start, tmp_path / "clock")
    theirs = SimulatedClock(start, tmp_path / "clock")
    assert mine.name == "simulated-clock"
    assert SystemClock().name == "system-clock"
    assert mine.now_ms() == theirs.now_ms() == start
    mine.release()
    deadline = SystemClock().now_ms() + 10_000
    while theirs.now_ms() == start and SystemClock().now_ms() < deadline:
        pass
    assert start < theirs.now_ms() < start + 10_000
    assert abs(mine.now_ms() - theirs.now_ms()) < 1_000


def test_a_shifted_clock_runs_beside_real_time():
    assert isinstance(clock_at(0), SystemClock)
    ahead, real = clock_at(3_600_000), SystemClock()
    assert ahead.name == "simulated-clock"
    before = real.now_ms()
    assert before + 3_600_000 <= ahead.now_ms() <= real.now_ms() + 3_600_000


def test_a_simulated_clock_may_skip_time(tmp_path):
    clock = SimulatedClock(1_000, tmp_path / "clock")
    clock.release(1_000_000)
    assert 1_000_000 <= clock.now_ms() < 1_010_000
    later = SimulatedClock(1_000, tmp_path / "clock")
    assert abs(later.now_ms() - clock.now_ms()) < 1_000
