//! Limits, and what is written into which file for them, on v1 and on v2.
//!
//! The files of v2 are those of `cgroup-v2.rst`, those of v1 of `cgroup-v1/*.rst` and
//! `scheduler/sched-bwc.rst` of the kernel's documentation.

use crate::device::{IoMax, KEYS};
use crate::hierarchy::{Controller, Version};
use crate::quantity::{Count, CpuList, Cpus, Limit, Size, Weight};
use pk::{Error, Result};

/// What PROG may use. `None` is left as it is.
#[derive(Debug, Default)]
pub struct Limits {
    pub memory: Option<Size>,
    pub memory_swap: Option<Size>,
    pub cpus: Option<Cpus>,
    pub cpu_weight: Option<Weight>,
    pub cpuset: Option<CpuList>,
    pub pids: Option<Count>,
    pub io_max: Vec<IoMax>,
}

/// One value for one file of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub file: &'static str,
    pub value: String,
    pub why: &'static str,
    /// Whether it may be left out where the kernel has no such file.
    pub optional: bool,
}

impl Limits {
    /// The controllers that are needed, each with the option that needs it.
    pub fn needs(&self) -> Vec<(Controller, &'static str)> {
        let table = [
            (self.memory.is_some(), Controller::Memory, "--memory"),
            (self.cpus.is_some(), Controller::Cpu, "--cpus"),
            (self.cpu_weight.is_some(), Controller::Cpu, "--cpu-weight"),
            (self.cpuset.is_some(), Controller::Cpuset, "--cpuset"),
            (self.pids.is_some(), Controller::Pids, "--pids"),
            (!self.io_max.is_empty(), Controller::Io, "--io-max"),
        ];
        let mut needs: Vec<(Controller, &str)> = Vec::new();
        for (is_set, controller, option) in table {
            if is_set && !needs.iter().any(|&(known, _)| known == controller) {
                needs.push((controller, option));
            }
        }
        needs
    }

    /// Refuses limits that contradict each other.
    pub fn check(&self) -> Result<()> {
        let wrong = |reason| Err(Error::usage("--memory-swap", reason));
        match (self.memory_swap, self.memory) {
            (Some(_), None) => wrong("is memory and swap together, and needs --memory"),
            (Some(Size(Limit::At(_))), Some(Size(Limit::Max))) => {
                wrong("is memory and swap together, and --memory alone is already max")
            }
            (Some(Size(Limit::At(both))), Some(Size(Limit::At(memory)))) if both < memory => {
                wrong("is memory and swap together, and less than --memory")
            }
            _ => Ok(()),
        }
    }

    /// The settings that make these limits, in the order in which the kernel takes them.
    /// `is_new` says that nothing has been set in the group yet.
    pub fn settings(
        &self,
        controller: Controller,
        version: Version,
        is_new: bool,
    ) -> Result<Vec<Setting>> {
        Ok(match (controller, version) {
            (Controller::Memory, Version::V2) => self.memory_v2(),
            (Controller::Memory, Version::V1) => self.memory_v1(is_new),
            (Controller::Cpu, Version::V2) => self.cpu_v2(),
            (Controller::Cpu, Version::V1) => self.cpu_v1(),
            (Controller::Cpuset, _) => setting(&self.cpuset, |CpuList(list)| {
                set("cpuset.cpus", list, "the processors that may be used")
            }),
            (Controller::Pids, _) => setting(&self.pids, |&Count(limit)| {
                set("pids.max", number(limit, "max"), "at this many tasks, fork() fails: EAGAIN")
            }),
            (Controller::Io, _) => {
                let mut settings = Vec::new();
                for limits in &self.io_max {
                    settings.extend(io(&limits.number()?, limits, version));
                }
                settings
            }
        })
    }

    /// The limit of memory and swap together. Where only `--memory` is given it is twice as much,
    /// as Docker has it: else a program would not be stopped, but swap without an end.
    fn both(&self) -> Option<Limit> {
        match (self.memory_swap, self.memory?) {
            (Some(Size(both)), _) => Some(both),
            (None, Size(Limit::At(memory))) => Some(Limit::At(memory.saturating_mul(2))),
            (None, Size(Limit::Max)) => Some(Limit::Max),
        }
    }

    /// A kernel or a machine that does not account swap has no file for it; that is an error only
    /// where a limit on it was asked for.
    fn swap(&self, file: &'static str, value: String) -> Setting {
        let optional = self.memory_swap.is_none();
        let why = if optional {
            "as much swap as memory, as Docker has it; left out where swap is not accounted"
        } else {
            "the limit on swap"
        };
        Setting { optional, ..set(file, value, why) }
    }

    fn memory_v2(&self) -> Vec<Setting> {
        let Some(Size(memory)) = self.memory else { return Vec::new() };
        // v2 counts swap alone: the difference.
        let swap = match (self.both(), memory) {
            (Some(Limit::At(both)), Limit::At(memory)) => Limit::At(both - memory),
            _ => Limit::Max,
        };
        let memory = set("memory.max", number(memory, "max"), "more memory than this: OOM kill");
        vec![memory, self.swap("memory.swap.max", number(swap, "max"))]
    }

    fn memory_v1(&self, is_new: bool) -> Vec<Setting> {
        const BOTH: &str = "memory.memsw.limit_in_bytes";
        let (Some(Size(memory)), Some(both)) = (self.memory, self.both()) else {
            return Vec::new();
        };
        let mut settings = Vec::new();
        // The limit on memory may never be above the one on both, so a former one goes first.
        if !is_new {
            let why = "no limit on memory and swap, so that the one on memory can rise";
            settings.push(Setting { why, ..self.swap(BOTH, "-1".to_owned()) });
        }
        let why = "more memory than this: OOM kill";
        settings.push(set("memory.limit_in_bytes", number(memory, "-1"), why));
        if !(is_new && both == Limit::Max) {
            settings.push(self.swap(BOTH, number(both, "-1")));
        }
        settings
    }

    fn cpu_v2(&self) -> Vec<Setting> {
        let mut settings = setting(&self.cpus, |&Cpus(quota)| {
            let value = format!("{} {}", number(quota, "max"), Cpus::PERIOD);
            set("cpu.max", value, "microseconds of processor time in each period of 100 ms")
        });
        settings.extend(setting(&self.cpu_weight, |Weight(weight)| {
            set("cpu.weight", weight, "the share of the processor that others want too")
        }));
        settings
    }

    fn cpu_v1(&self) -> Vec<Setting> {
        let mut settings = setting(&self.cpus, |_| {
            set("cpu.cfs_period_us", Cpus::PERIOD, "the period that the quota is for")
        });
        settings.extend(setting(&self.cpus, |&Cpus(quota)| {
            let why = "microseconds of processor time in each period of 100 ms";
            set("cpu.cfs_quota_us", number(quota, "-1"), why)
        }));
        // systemd's conversion: it maps v2's default, 100, to v1's, 1024, and keeps ratios. (The
        // one of the OCI's early runtimes maps 100 to 2597.)
        settings.extend(setting(&self.cpu_weight, |Weight(weight)| {
            let shares = (weight * 1024 / 100).clamp(2, 262_144);
            set("cpu.shares", shares, "the share of the processor that others want too")
        }));
        settings
    }
}

fn set(file: &'static str, value: impl ToString, why: &'static str) -> Setting {
    Setting { file, value: value.to_string(), why, optional: false }
}

fn setting<T>(limit: &Option<T>, make: impl Fn(&T) -> Setting) -> Vec<Setting> {
    limit.as_ref().map(make).into_iter().collect()
}

fn number(limit: Limit, max: &str) -> String {
    match limit {
        Limit::At(number) => number.to_string(),
        Limit::Max => max.to_owned(),
    }
}

fn io(device: &str, max: &IoMax, version: Version) -> Vec<Setting> {
    const WHY: &str = "bytes and operations a second on this device";
    const V1_FILES: [&str; 4] = [
        "blkio.throttle.read_bps_device",
        "blkio.throttle.write_bps_device",
        "blkio.throttle.read_iops_device",
        "blkio.throttle.write_iops_device",
    ];
    let limits = max.limits.iter().enumerate();
    let limits = limits.filter_map(|(index, &limit)| Some((index, limit?)));
    match version {
        Version::V1 => limits
            // v1 knows no word for "no limit": it is 0.
            .map(|(index, limit)| {
                set(V1_FILES[index], format!("{device} {}", number(limit, "0")), WHY)
            })
            .collect(),
        Version::V2 => {
            let pairs = limits.map(|(index, limit)| (KEYS[index], number(limit, "max")));
            let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
            vec![set("io.max", format!("{device} {}", pairs.join(" ")), WHY)]
        }
    }
}

impl Setting {
    /// What has to be written to undo this setting, if the file now says `content`.
    pub fn undo(&self, content: &str) -> String {
        // The files of a device have a line for each device that has limits.
        let keyed = self.value.split_once(' ').filter(|(device, _)| device.contains(':'));
        let Some((device, _)) = keyed else { return content.trim_end().to_owned() };
        let is_ours = |line: &&str| line.split(' ').next() == Some(device);
        content.lines().find(is_ours).map_or_else(
            || match self.file {
                "io.max" => format!("{device} rbps=max wbps=max riops=max wiops=max"),
                _ => format!("{device} 0"),
            },
            str::to_owned,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Version::{V1, V2};

    const CONTROLLERS: [Controller; 5] =
        [Controller::Memory, Controller::Cpu, Controller::Cpuset, Controller::Pids, Controller::Io];

    fn lines(limits: &Limits, version: Version, is_new: bool) -> Vec<String> {
        let of = |&controller: &Controller| limits.settings(controller, version, is_new).unwrap();
        let settings = CONTROLLERS.iter().flat_map(of);
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
            "memory.max = 67108864",
            "memory.swap.max = 33554432",
            "cpu.max = 150000 100000",
            "cpu.weight = 200",
            "cpuset.cpus = 0-1",
            "pids.max = 32",
            "io.max = 8:0 wbps=1048576 riops=10",
            "io.max = 8:16 rbps=max",
        ];
        assert_eq!(lines(&all(), V2, true), expected);
        assert_eq!(lines(&all(), V2, false), expected);
    }

    #[test]
    fn settings_of_v1() {
        let expected = [
            "memory.memsw.limit_in_bytes = -1",
            "memory.limit_in_bytes = 67108864",
            "memory.memsw.limit_in_bytes = 100663296",
            "cpu.cfs_period_us = 100000",
            "cpu.cfs_quota_us = 150000",
            "cpu.shares = 2048",
            "cpuset.cpus = 0-1",
            "pids.max = 32",
            "blkio.throttle.write_bps_device = 8:0 1048576",
            "blkio.throttle.read_iops_device = 8:0 10",
            "blkio.throttle.read_bps_device = 8:16 0",
        ];
        assert_eq!(lines(&all(), V1, true), expected[1..]);
        assert_eq!(lines(&all(), V1, false), expected);
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
            let limits = Limits {
                memory: size(memory),
                memory_swap: size(memory_swap),
                ..Limits::default()
            };
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
}
