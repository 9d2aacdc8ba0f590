//! `--stat`: usage and limits of a group as JSON, the same for v1 and v2.
//!
//! Sizes are bytes, times microseconds, `cpus` processors; `null` is "no limit". What the group
//! is not made for (a controller that no limit asked for) is left out.

use crate::quantity::Limit;
use pk::{Attempt, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The files that are read where they are there. Where both versions have a name, both mean the
/// same by it, `cpu.stat` excepted: v1's has no usage in it and is not read.
const FILES: [&str; 32] = [
    "cgroup.procs",
    "cgroup.events",
    "freezer.state",
    "memory.current",
    "memory.usage_in_bytes",
    "memory.peak",
    "memory.max_usage_in_bytes",
    "memory.max",
    "memory.limit_in_bytes",
    "memory.swap.current",
    "memory.memsw.usage_in_bytes",
    "memory.swap.max",
    "memory.memsw.limit_in_bytes",
    "memory.events",
    "memory.oom_control",
    "cpu.stat",
    "cpuacct.usage",
    "cpu.max",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.weight",
    "cpu.shares",
    "cpuset.cpus",
    "pids.current",
    "pids.max",
    "io.max",
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
    "cpuset.cpus.effective",
    "cpuset.effective_cpus",
];

/// v1 has no word for "no limit" on memory: it counts pages, and shows the highest count that it
/// can hold in bytes (`PAGE_COUNTER_MAX`), with pages of 64 KiB the lowest.
const NO_LIMIT_OF_V1: u64 = i64::MAX as u64 / 65536 * 65536;

/// The contents of a group's files by name.
#[derive(Debug, Default)]
pub struct Contents(BTreeMap<String, String>);

/// The files of a group that are there to be read.
pub fn files(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for directory in directories {
        let is_v2 = directory.join("cgroup.events").exists();
        for name in FILES.iter().filter(|&&name| name != "cpu.stat" || is_v2) {
            let is_new = !files.iter().any(|file| file.ends_with(name));
            if is_new && directory.join(name).exists() {
                files.push(directory.join(name));
            }
        }
    }
    files
}

impl Contents {
    /// Reads one file.
    pub fn read(&mut self, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file).attempt(format_args!("read({file:?})"))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        self.0.insert(name.into_owned(), text);
        Ok(())
    }

    /// Writes the report to standard output, one line.
    pub fn print(&self, name: &str) -> Result<()> {
        let text = format!("{}\n", self.report(name));
        std::io::stdout().write_all(text.as_bytes()).attempt("write(1)")
    }

    fn report(&self, name: &str) -> Value {
        let sections = [
            ("memory", self.memory()),
            ("memory_swap", self.memory_swap()),
            ("cpu", self.cpu()),
            ("pids", self.usage_and_limit("pids.current", "pids.max")),
            ("io", self.io()),
        ];
        let mut report = Map::new();
        report.insert("name".to_owned(), json!(name));
        report.insert("processes".to_owned(), json!(self.processes()));
        report.insert("frozen".to_owned(), json!(self.is_frozen()));
        for (section, values) in sections {
            if !values.is_empty() {
                report.insert(section.to_owned(), Value::Object(values));
            }
        }
        Value::Object(report)
    }

    fn text(&self, file: &str) -> Option<&str> {
        self.0.get(file).map(|text| text.trim())
    }

    /// A number or no limit.
    fn limit(&self, file: &str) -> Option<Limit> {
        match self.text(file)? {
            "max" | "-1" => Some(Limit::Max),
            text => match text.parse().ok()? {
                NO_LIMIT_OF_V1.. => Some(Limit::Max),
                number => Some(Limit::At(number)),
            },
        }
    }

    /// The number after a word, in a file of lines `WORD NUMBER`.
    fn keyed(&self, file: &str, key: &str) -> Option<u64> {
        let mut lines = self.text(file)?.lines();
        lines.find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    }

    fn processes(&self) -> Vec<u32> {
        let list = self.text("cgroup.procs").unwrap_or_default();
        list.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn is_frozen(&self) -> bool {
        self.keyed("cgroup.events", "frozen ") == Some(1)
            || self.text("freezer.state").is_some_and(|state| state == "FROZEN")
    }

    fn usage_and_limit(&self, usage: &str, limit: &str) -> Map<String, Value> {
        let mut values = Map::new();
        put(&mut values, "usage", self.limit(usage));
        put(&mut values, "limit", self.limit(limit));
        values
    }

    fn memory(&self) -> Map<String, Value> {
        let mut values = self.usage_and_limit("memory.current", "memory.max");
        values.append(&mut self.usage_and_limit("memory.usage_in_bytes", "memory.limit_in_bytes"));
        let peak = self.limit("memory.peak").or_else(|| self.limit("memory.max_usage_in_bytes"));
        put(&mut values, "peak", peak);
        let kills = self.keyed("memory.events", "oom_kill ");
        put(
            &mut values,
            "oom_kills",
            kills.or_else(|| self.keyed("memory.oom_control", "oom_kill ")),
        );
        values
    }

    /// Memory and swap together, which v2 counts apart.
    fn memory_swap(&self) -> Map<String, Value> {
        let sum = |memory, swap| match (self.limit(memory)?, self.limit(swap)?) {
            (Limit::At(memory), Limit::At(swap)) => Some(Limit::At(memory.saturating_add(swap))),
            _ => Some(Limit::Max),
        };
        let (usage, limit) = ("memory.memsw.usage_in_bytes", "memory.memsw.limit_in_bytes");
        let mut values = self.usage_and_limit(usage, limit);
        put(&mut values, "usage", sum("memory.current", "memory.swap.current"));
        put(&mut values, "limit", sum("memory.max", "memory.swap.max"));
        values
    }

    fn cpu(&self) -> Map<String, Value> {
        let mut values = Map::new();
        let nanoseconds = self.keyed("cpuacct.usage", "");
        let usage = self.keyed("cpu.stat", "usage_usec ").or(nanoseconds.map(|time| time / 1000));
        put(&mut values, "usage_usec", usage);
        put(&mut values, "cpus", self.cpus());
        // The inverse of systemd's conversion, as in limits.rs.
        let shares = self.keyed("cpu.shares", "").map(|shares| (shares * 100).div_ceil(1024));
        put(&mut values, "weight", self.keyed("cpu.weight", "").or(shares));
        let set = ["cpuset.cpus", "cpuset.cpus.effective", "cpuset.effective_cpus"];
        let set = set.iter().filter_map(|file| self.text(file)).find(|text| !text.is_empty());
        put(&mut values, "cpuset", set);
        values
    }

    /// Quota by period, in processors.
    fn cpus(&self) -> Option<Value> {
        let (quota, period) = match self.text("cpu.max") {
            Some(text) => text.split_once(' ')?,
            None => (self.text("cpu.cfs_quota_us")?, self.text("cpu.cfs_period_us")?),
        };
        let (quota, period): (Option<f64>, f64) = (quota.parse().ok(), period.parse().ok()?);
        Some(json!(quota.filter(|&quota| quota > 0.0).map(|quota| quota / period)))
    }

    /// The limits of each device, by its number, in the words of `--io-max`.
    fn io(&self) -> Map<String, Value> {
        let mut devices: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
        for line in self.text("io.max").unwrap_or_default().lines() {
            let mut words = line.split(' ');
            let device = devices.entry(words.next().unwrap_or_default()).or_default();
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                put(device, key, Some(value.parse::<u64>().ok()));
            }
        }
        let v1 = [
            ("blkio.throttle.read_bps_device", "rbps"),
            ("blkio.throttle.write_bps_device", "wbps"),
            ("blkio.throttle.read_iops_device", "riops"),
            ("blkio.throttle.write_iops_device", "wiops"),
        ];
        for (file, key) in v1 {
            let lines = self.text(file).unwrap_or_default().lines();
            for (device, value) in lines.filter_map(|line| line.split_once(' ')) {
                put(devices.entry(device).or_default(), key, value.parse::<u64>().ok());
            }
        }
        devices.into_iter().map(|(device, limits)| (device.to_owned(), json!(limits))).collect()
    }
}

impl From<Limit> for Value {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::At(number) => json!(number),
            Limit::Max => Self::Null,
        }
    }
}

/// Adds a value, if there is one; `null` is one.
fn put(values: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        values.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
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
}
