//! Limits, and what is written into which file for them, on v1 and on v2.
//!
//! The files of v2 are those of `cgroup-v2.rst`, those of v1 of `cgroup-v1/*.rst` and
//! `scheduler/sched-bwc.rst` of the kernel's documentation.

use crate::device::{IoMax, KEYS};
use crate::hierarchy::{Controller, Version};
use crate::quantity::{Count, CpuList, Cpus, Limit, Size, Weight};
use pk::{Error, Result};
use std::fmt;

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
            (Controller::Cpuset, _) => setting(self.cpuset.as_ref(), |CpuList(list)| {
                set("cpuset.cpus", list, "the processors that may be used")
            }),
            (Controller::Pids, _) => setting(self.pids.as_ref(), |&Count(limit)| {
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
        let mut settings = setting(self.cpus.as_ref(), |&Cpus(quota)| {
            let value = format!("{} {}", number(quota, "max"), Cpus::PERIOD);
            set("cpu.max", value, "microseconds of processor time in each period of 100 ms")
        });
        settings.extend(setting(self.cpu_weight.as_ref(), |Weight(weight)| {
            set("cpu.weight", weight, "the share of the processor that others want too")
        }));
        settings
    }

    fn cpu_v1(&self) -> Vec<Setting> {
        let mut settings = setting(self.cpus.as_ref(), |_| {
            set("cpu.cfs_period_us", Cpus::PERIOD, "the period that the quota is for")
        });
        settings.extend(setting(self.cpus.as_ref(), |&Cpus(quota)| {
            let why = "microseconds of processor time in each period of 100 ms";
            set("cpu.cfs_quota_us", number(quota, "-1"), why)
        }));
        // systemd's conversion: it maps v2's default, 100, to v1's, 1024, and keeps ratios. (The
        // one of the OCI's early runtimes maps 100 to 2597.)
        settings.extend(setting(self.cpu_weight.as_ref(), |Weight(weight)| {
            let shares = (weight * 1024 / 100).clamp(2, 262_144);
            set("cpu.shares", shares, "the share of the processor that others want too")
        }));
        settings
    }
}

fn set(file: &'static str, value: impl fmt::Display, why: &'static str) -> Setting {
    Setting { file, value: format!("{value}"), why, optional: false }
}

fn setting<T>(limit: Option<&T>, make: impl Fn(&T) -> Setting) -> Vec<Setting> {
    limit.map(make).into_iter().collect()
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
mod tests;
