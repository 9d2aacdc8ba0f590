//! The network devices of a process's network namespace, with their addresses.
//!
//! They are asked for by netlink, which needs neither `/proc` nor `/sys`: `getifaddrs(3)`.

use crate::answer::{Answer, Unknown};
use crate::entry::enter;
use crate::fact::{Fact, Topic};
use crate::namespaces::Kind;
use crate::process::Process;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub struct Device {
    pub name: String,
    pub up: bool,
    /// `192.0.2.2/24`, `fe80::1/64`.
    pub addresses: Vec<String>,
}

pub type Devices = Answer<Vec<Device>>;

pub fn read(process: &Process) -> Devices {
    let read = || -> Result<Vec<Device>, Unknown> {
        enter(process, Kind::Net)?;
        let mut devices: Vec<Device> = Vec::new();
        for entry in getifaddrs()? {
            // An IPv4 address can have a label, which begins with the device's name.
            let name = entry.interface_name.split(':').next().unwrap_or_default();
            let at = devices.iter().position(|device| device.name == name).unwrap_or_else(|| {
                let up = entry.flags.contains(InterfaceFlags::IFF_UP);
                devices.push(Device { name: name.to_owned(), up, addresses: Vec::new() });
                devices.len() - 1
            });
            devices[at].addresses.extend(address(&entry));
        }
        Ok(devices)
    };
    read().into()
}

/// Its address with the length of its prefix, if it is one of IP.
fn address(entry: &InterfaceAddress) -> Option<String> {
    let (address, mask) = (entry.address.as_ref()?, entry.netmask.as_ref()?);
    if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
        return Some(format!("{}/{}", address.ip(), mask.ip().to_bits().count_ones()));
    }
    let (address, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
    Some(format!("{}/{}", address.ip(), mask.ip().to_bits().count_ones()))
}

impl Devices {
    pub fn facts(&self) -> Vec<Fact> {
        match self {
            Self::Known(devices) => devices.iter().map(Device::fact).collect(),
            Self::Unknown(unknown) => vec![Fact::unknown(Topic::Device, "", unknown)],
        }
    }
}

impl Device {
    fn fact(&self) -> Fact {
        let state = if self.up { "up" } else { "down" };
        Fact::new(Topic::Device, &self.name, [state.to_owned(), self.addresses.join(" ")])
    }
}
