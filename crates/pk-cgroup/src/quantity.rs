//! The values of the options: how much of something.

use std::str::FromStr;

/// An amount, or no limit: `max`, as the files of v2 call it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    At(u64),
    Max,
}

/// Bytes: `64M`, `1.5g`, `max`. The units are powers of 1024, as Docker's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size(pub Limit);

/// How many: `32`, `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count(pub Limit);

/// Processors' worth of time: `1.5`, `max`. Kept as microseconds in every [`Cpus::PERIOD`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cpus(pub Limit);

/// A share of the processor time that others want too: 1 to 10000, 100 if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight(pub u64);

/// Processors by number: `0-2,4`. `cpuset(7)`, "List format".
#[derive(Clone, Debug, PartialEq)]
pub struct CpuList(pub String);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "is no size: a number, then b, k, m, g or t; or max";
        if text == "max" {
            return Ok(Self(Limit::Max));
        }
        let bytes = pk::bytes(text).ok_or(FORM)?;
        match i64::try_from(bytes) {
            Ok(bytes @ 1..) => Ok(Self(Limit::At(bytes.cast_unsigned()))),
            Ok(_) => Err("is nothing at all"),
            Err(_) => Err("is more than the kernel can count"),
        }
    }
}

impl FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse()) {
            ("max", _) => Ok(Self(Limit::Max)),
            (_, Ok(count @ 1..=4_194_304)) => Ok(Self(Limit::At(count))),
            // PID_MAX_LIMIT: pids(5) of proc, /proc/sys/kernel/pid_max.
            _ => Err("is no count: 1 to 4194304, or max"),
        }
    }
}

impl Cpus {
    /// The period that the quota is for, in microseconds: Docker's, and the kernel's own.
    pub const PERIOD: u32 = 100_000;
}

impl FromStr for Cpus {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The kernel takes no quota below a millisecond (min_cfs_quota_period).
        const FORM: &str = "is no number of processors: 0.01 or more, or max";
        if text == "max" {
            return Ok(Self(Limit::Max));
        }
        let digits = |c: char| c.is_ascii_digit() || c == '.';
        let cpus: f64 = text.parse().ok().filter(|_| text.chars().all(digits)).ok_or(FORM)?;
        if !(0.01..=8192.0).contains(&cpus) {
            return Err(FORM);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in bounds")]
        let quota = (cpus * f64::from(Self::PERIOD)).round() as u64;
        Ok(Self(Limit::At(quota)))
    }
}

impl FromStr for Weight {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let weight = text.parse().ok().filter(|weight| (1..=10_000).contains(weight));
        weight.map(Self).ok_or("is no weight: 1 to 10000")
    }
}

impl FromStr for CpuList {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u16>().ok();
        let good = text.split(',').all(|range| match range.split_once('-') {
            None => number(range).is_some(),
            Some((first, last)) => {
                number(first).zip(number(last)).is_some_and(|(first, last)| first <= last)
            }
        });
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err("is no list of processors, such as 0-2,4")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table: &[(&str, Option<u64>)] = &[
            ("1", Some(1)),
            ("512b", Some(512)),
            ("1K", Some(1024)),
            ("64M", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("64mb", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("0.5k", Some(512)),
            ("2t", Some(2 << 40)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("99999999999999999999999999999999999999999999", None),
            ("8388608t", None),
            ("12Q", None),
            ("", None),
            ("M", None),
            (".5M", None),
            ("1.M", None),
            ("1.2.3M", None),
            ("1.0000000000000000000000000000000000000000001", None),
            ("-1", None),
            ("+1", None),
            ("1 M", None),
            ("0", None),
            ("0.1b", None),
            ("Max", None),
        ];
        for &(text, expected) in table {
            let expected = expected.map(|bytes| Size(Limit::At(bytes)));
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
        assert_eq!("max".parse(), Ok(Size(Limit::Max)));
    }

    #[test]
    fn counts_weights_and_processors() {
        for (text, expected) in
            [("1", Some(Limit::At(1))), ("max", Some(Limit::Max)), ("0", None), ("4194305", None)]
        {
            assert_eq!(text.parse().ok(), expected.map(Count), "{text}");
        }
        for (text, expected) in [("1", Some(1)), ("10000", Some(10_000)), ("0", None), ("x", None)]
        {
            assert_eq!(text.parse().ok(), expected.map(Weight), "{text}");
        }
        let cpus = [
            ("1", Some(Limit::At(100_000))),
            ("1.5", Some(Limit::At(150_000))),
            ("0.01", Some(Limit::At(1_000))),
            ("max", Some(Limit::Max)),
            ("0.001", None),
            ("-1", None),
            ("1e3", None),
            ("inf", None),
            ("NaN", None),
            ("", None),
        ];
        for (text, expected) in cpus {
            assert_eq!(text.parse().ok(), expected.map(Cpus), "{text}");
        }
        for (text, good) in
            [("0", true), ("0-2,4", true), ("", false), ("2-1", false), ("0,", false), ("a", false)]
        {
            assert_eq!(text.parse::<CpuList>().is_ok(), good, "{text}");
        }
    }
}
