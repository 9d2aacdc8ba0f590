use super::*;

fn report(files: &[(&str, &str)]) -> Value {
    let files = files.iter().map(|&(file, text)| (file.to_owned(), text.to_owned()));
    Contents(files.collect()).report("box")
}

#[test]
fn both_versions_give_the_same_report() {
    let v2 = report(&[
        ("cgroup.procs", "10\n11\n"),
        ("cgroup.events", "populated 1\nfrozen 1\n"),
        ("memory.current", "4096\n"),
        ("memory.peak", "8192\n"),
        ("memory.max", "67108864\n"),
        ("memory.swap.current", "0\n"),
        ("memory.swap.max", "67108864\n"),
        ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n"),
        ("cpu.stat", "usage_usec 1500\nuser_usec 500\n"),
        ("cpu.max", "150000 100000\n"),
        ("cpu.weight", "200\n"),
        ("cpuset.cpus", "0-1\n"),
        ("pids.current", "2\n"),
        ("pids.max", "max\n"),
        ("io.max", "8:0 rbps=1048576 wbps=max riops=max wiops=max\n"),
    ]);
    let v1 = report(&[
        ("cgroup.procs", "10\n11\n"),
        ("freezer.state", "FROZEN\n"),
        ("memory.usage_in_bytes", "4096\n"),
        ("memory.max_usage_in_bytes", "8192\n"),
        ("memory.limit_in_bytes", "67108864\n"),
        ("memory.memsw.usage_in_bytes", "4096\n"),
        ("memory.memsw.limit_in_bytes", "134217728\n"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        ("cpuacct.usage", "1500000\n"),
        ("cpu.cfs_quota_us", "150000\n"),
        ("cpu.cfs_period_us", "100000\n"),
        ("cpu.shares", "2048\n"),
        ("cpuset.cpus", "0-1\n"),
        ("pids.current", "2\n"),
        ("pids.max", "max\n"),
        ("blkio.throttle.read_bps_device", "8:0 1048576\n"),
    ]);
    let expected = json!({
        "name": "box", "processes": [10, 11], "frozen": true,
        "memory": {"usage": 4096, "limit": 67_108_864, "peak": 8192, "oom_kills": 1},
        "memory_swap": {"usage": 4096, "limit": 134_217_728},
        "cpu": {"usage_usec": 1500, "cpus": 1.5, "weight": 200, "cpuset": "0-1"},
        "pids": {"usage": 2, "limit": null},
        "io": {"8:0": {"rbps": 1_048_576}},
    });
    assert_eq!(v1, expected);
    let mut expected = expected;
    expected["io"] =
        json!({"8:0": {"rbps": 1_048_576, "wbps": null, "riops": null, "wiops": null}});
    assert_eq!(v2, expected);
}

#[test]
fn no_limit_is_null_and_what_is_not_there_is_left_out() {
    let none = report(&[
        ("memory.limit_in_bytes", "9223372036854771712\n"),
        ("cpu.cfs_quota_us", "-1\n"),
        ("cpu.cfs_period_us", "100000\n"),
    ]);
    let expected = json!({
        "name": "box", "processes": [], "frozen": false,
        "memory": {"limit": null}, "cpu": {"cpus": null},
    });
    assert_eq!(none, expected);
    assert_eq!(report(&[("cpu.max", "max 100000\n")])["cpu"]["cpus"], Value::Null);
}

#[test]
fn weights_come_back_as_they_were_given() {
    for weight in [1_u64, 2, 33, 99, 100, 101, 9999, 10_000] {
        let shares = (weight * 1024 / 100).to_string();
        assert_eq!(report(&[("cpu.shares", &shares)])["cpu"]["weight"], weight);
    }
}
