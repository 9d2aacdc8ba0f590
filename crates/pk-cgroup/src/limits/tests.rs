use super::*;
use Version::{V1, V2};

fn lines(limits: &Limits, version: Version, is_new: bool) -> Vec<String> {
    let of = |&controller: &Controller| limits.settings(controller, version, is_new).unwrap();
    let settings = Controller::ALL.iter().flat_map(of);
    settings.map(|set| format!("{} = {}", set.file, set.value)).collect()
}

fn all() -> Limits {
    Limits {
        memory: "64M".parse().ok(),
        memory_swap: "96M".parse().ok(),
        cpus: "1.5".parse().ok(),
        cpu_weight: "200".parse().ok(),
        cpuset: "0-1".parse().ok(),
        pids: "32".parse().ok(),
        io_max: vec!["8:0:wbps=1M,riops=10".parse().unwrap(), "8:16:rbps=max".parse().unwrap()],
    }
}

#[test]
fn settings_of_v2() {
    let expected = [
        "cpu.max = 150000 100000",
        "cpu.weight = 200",
        "cpuset.cpus = 0-1",
        "io.max = 8:0 wbps=1048576 riops=10",
        "io.max = 8:16 rbps=max",
        "memory.max = 67108864",
        "memory.swap.max = 33554432",
        "pids.max = 32",
    ];
    assert_eq!(lines(&all(), V2, true), expected);
    assert_eq!(lines(&all(), V2, false), expected);
}

#[test]
fn settings_of_v1() {
    let expected = [
        "cpu.cfs_period_us = 100000",
        "cpu.cfs_quota_us = 150000",
        "cpu.shares = 2048",
        "cpuset.cpus = 0-1",
        "blkio.throttle.write_bps_device = 8:0 1048576",
        "blkio.throttle.read_iops_device = 8:0 10",
        "blkio.throttle.read_bps_device = 8:16 0",
        "memory.memsw.limit_in_bytes = -1",
        "memory.limit_in_bytes = 67108864",
        "memory.memsw.limit_in_bytes = 100663296",
        "pids.max = 32",
    ];
    assert_eq!(lines(&all(), V1, false), expected);
    // In a new group nothing has to go before the limit on memory.
    let mut expected = expected.to_vec();
    expected.remove(7);
    assert_eq!(lines(&all(), V1, true), expected);
}

#[test]
fn swap_is_as_much_as_memory_unless_it_is_said() {
    let memory = |text: &str| Limits { memory: text.parse().ok(), ..Limits::default() };
    assert_eq!(lines(&memory("1k"), V2, true), ["memory.max = 1024", "memory.swap.max = 1024"]);
    assert_eq!(
        lines(&memory("1k"), V1, true),
        ["memory.limit_in_bytes = 1024", "memory.memsw.limit_in_bytes = 2048"]
    );
    assert_eq!(lines(&memory("max"), V2, true), ["memory.max = max", "memory.swap.max = max"]);
    assert_eq!(lines(&memory("max"), V1, true), ["memory.limit_in_bytes = -1"]);
    let none = Limits { memory_swap: "1k".parse().ok(), ..memory("1k") };
    assert_eq!(lines(&none, V2, true), ["memory.max = 1024", "memory.swap.max = 0"]);
    let optional = |limits: &Limits| limits.memory_v2()[1].optional;
    assert!(optional(&memory("1k")) && !optional(&none));
}

#[test]
fn weights_keep_the_default_and_stay_in_bounds() {
    for (weight, shares) in [("1", 10), ("100", 1024), ("10000", 102_400)] {
        let limits = Limits { cpu_weight: weight.parse().ok(), ..Limits::default() };
        assert_eq!(lines(&limits, V1, true), [format!("cpu.shares = {shares}")]);
    }
}

#[test]
fn limits_that_contradict_each_other() {
    let table = [
        (None, Some("1M"), false),
        (Some("2M"), Some("1M"), false),
        (Some("max"), Some("1M"), false),
        (Some("1M"), Some("1M"), true),
        (Some("1M"), Some("max"), true),
        (Some("max"), Some("max"), true),
        (Some("1M"), None, true),
    ];
    for (memory, memory_swap, good) in table {
        let size = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let limits =
            Limits { memory: size(memory), memory_swap: size(memory_swap), ..Limits::default() };
        assert_eq!(limits.check().is_ok(), good, "{memory:?} {memory_swap:?}");
    }
}

#[test]
fn a_setting_can_be_undone() {
    let table = [
        ("pids.max", "3", "max\n", "max"),
        ("cpu.max", "150000 100000", "max 100000\n", "max 100000"),
        ("io.max", "8:0 rbps=1", "", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ("io.max", "8:0 rbps=1", "8:1 rbps=2\n8:0 rbps=3 wbps=max\n", "8:0 rbps=3 wbps=max"),
        ("blkio.throttle.read_bps_device", "8:0 1", "8:16 2\n", "8:0 0"),
    ];
    for (file, value, content, expected) in table {
        assert_eq!(set(file, value, "").undo(content), expected, "{file} {content:?}");
    }
}
