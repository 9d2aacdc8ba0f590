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
mod tests;
