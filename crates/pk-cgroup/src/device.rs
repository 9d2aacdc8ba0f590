//! What `--io-max` limits: `DEVICE:KEY=VALUE[,KEY=VALUE...]`.

use crate::quantity::{Limit, Size};
use pk::{Attempt, Error, Result};
use rustix::fs::{FileType, major, minor, stat};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The limits of one block device.
#[derive(Clone, Debug, PartialEq)]
pub struct IoMax {
    device: Device,
    /// In the order of [`KEYS`]; `None` is left as it is.
    pub limits: [Option<Limit>; 4],
}

/// Bytes and operations a second, reading and writing, as v2's `io.max` calls them.
pub const KEYS: [&str; 4] = ["rbps", "wbps", "riops", "wiops"];

#[derive(Clone, Debug, PartialEq)]
enum Device {
    Path(PathBuf),
    Number(u32, u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{path:?}"),
            Self::Number(major, minor) => write!(f, "{major}:{minor}"),
        }
    }
}

impl FromStr for IoMax {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        const FORM: &str = "is not DEVICE:KEY=VALUE,... with keys rbps, wbps, riops and wiops";
        // A path may hold a colon, a limit cannot.
        let (device, pairs) = text.rsplit_once(':').ok_or(FORM)?;
        let number = device.split_once(':').and_then(|(major, minor)| {
            Some(Device::Number(major.parse().ok()?, minor.parse().ok()?))
        });
        let device = match number {
            Some(device) => device,
            None if device.starts_with('/') => Device::Path(device.into()),
            None => return Err("names no device: a path from /, or MAJOR:MINOR"),
        };
        let mut limits = [None; 4];
        for pair in pairs.split(',') {
            let (key, value) = pair.split_once('=').ok_or(FORM)?;
            let index = KEYS.iter().position(|&known| known == key).ok_or(FORM)?;
            let limit = match key {
                "rbps" | "wbps" => value.parse::<Size>()?.0,
                _ if value == "max" => Limit::Max,
                _ => Limit::At(value.parse().ok().filter(|&count: &u64| count > 0).ok_or(FORM)?),
            };
            if limits[index].replace(limit).is_some() {
                return Err("names a key twice");
            }
        }
        Ok(Self { device, limits })
    }
}

impl IoMax {
    /// The device as the kernel's files name it, `MAJOR:MINOR`.
    pub fn number(&self) -> Result<String> {
        let (major, minor) = match &self.device {
            Device::Number(major, minor) => (*major, *minor),
            Device::Path(path) => {
                let found = stat(path).attempt(format_args!("--io-max: stat({path:?})"))?;
                if FileType::from_raw_mode(found.st_mode) != FileType::BlockDevice {
                    let option = format_args!("--io-max {path:?}");
                    return Err(Error::usage(option, "is no block device"));
                }
                (major(found.st_rdev), minor(found.st_rdev))
            }
        };
        let name = format!("{major}:{minor}");
        // Both versions refuse a partition with ENODEV (blkg_conf_prep): requests are counted
        // where the disk's queue is.
        let directory = PathBuf::from(format!("/sys/dev/block/{name}"));
        if directory.join("partition").exists() {
            let disk = std::fs::read_to_string(directory.join("../dev")).unwrap_or_default();
            let reason = "is a partition; only whole disks can be limited";
            let error = Error::usage(format_args!("--io-max {}", self.device), reason);
            return Err(error.hint(format!("its disk is {}", disk.trim())));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_and_its_limits() {
        let (at, max) = (|number| Some(Limit::At(number)), Some(Limit::Max));
        let path = |path: &str| Device::Path(path.into());
        let table = [
            ("8:0:rbps=1M", Some((Device::Number(8, 0), [at(1 << 20), None, None, None]))),
            ("/dev/sda:wiops=10,wbps=max", Some((path("/dev/sda"), [None, max, None, at(10)]))),
            (
                "/dev/disk/by-path/pci-0:1:riops=max",
                Some((path("/dev/disk/by-path/pci-0:1"), [None, None, max, None])),
            ),
            ("8:0", None),
            ("8:0:", None),
            ("sda:rbps=1M", None),
            ("8:0:rbps=1Q", None),
            ("8:0:rbps=1,rbps=2", None),
            ("8:0:bps=1", None),
            ("8:0:riops=1k", None),
            ("8:0:riops=0", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(device, limits)| IoMax { device, limits });
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_block_device_is_refused() {
        for text in ["/dev/null:rbps=1M", "/nowhere:rbps=1M"] {
            assert!(text.parse::<IoMax>().unwrap().number().is_err(), "{text}");
        }
    }
}
