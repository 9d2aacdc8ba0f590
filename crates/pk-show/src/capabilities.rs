//! The five sets of capabilities. `capabilities(7)`.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::process::Process;
use rustix::thread::{self, CapabilitySet};
use serde::{Deserialize, Serialize};

/// The names of a set's members, without `CAP_`, in the kernel's order.
pub type Names = Vec<String>;

/// What a process may do, and what it may come to.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Capabilities {
    pub effective: Answer<Names>,
    pub permitted: Answer<Names>,
    pub inheritable: Answer<Names>,
    pub bounding: Answer<Names>,
    pub ambient: Answer<Names>,
}

pub fn read(process: &Process) -> Capabilities {
    if process.is_own {
        return own();
    }
    let set = |field: &str| -> Result<Names, Unknown> {
        let bits = u64::from_str_radix(process.status(field)?, 16);
        bits.map(names).map_err(|_| Unknown::not_told())
    };
    Capabilities {
        effective: set("CapEff").into(),
        permitted: set("CapPrm").into(),
        inheritable: set("CapInh").into(),
        bounding: set("CapBnd").into(),
        ambient: set("CapAmb").into(),
    }
}

fn own() -> Capabilities {
    let sets = thread::capabilities(None).map_err(Unknown::from);
    let set = |of: fn(&thread::CapabilitySets) -> CapabilitySet| -> Answer<Names> {
        sets.as_ref().map(|sets| names(of(sets).bits())).map_err(Clone::clone).into()
    };
    Capabilities {
        effective: set(|sets| sets.effective),
        permitted: set(|sets| sets.permitted),
        inheritable: set(|sets| sets.inheritable),
        bounding: each(thread::capability_is_in_bounding_set).into(),
        ambient: each(thread::capability_is_in_ambient_set).into(),
    }
}

/// Those that a question holds for. The kernel's answer for one that it does not know is EINVAL.
fn each(holds: fn(CapabilitySet) -> rustix::io::Result<bool>) -> Result<Names, Unknown> {
    let mut bits = 0;
    for number in 0..u64::BITS {
        match holds(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(true) => bits |= 1 << number,
            Ok(false) => {}
            Err(rustix::io::Errno::INVAL) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(names(bits))
}

/// One that is newer than this program has a number for a name.
fn names(bits: u64) -> Names {
    let numbers = (0..u64::BITS).filter(|number| bits & 1 << number != 0);
    numbers.map(name).collect()
}

fn name(number: u32) -> String {
    let set = CapabilitySet::from_bits_retain(1 << number);
    let name = set.iter_names().next().map(|(name, _)| name.to_owned());
    name.unwrap_or_else(|| number.to_string())
}

/// `all`, `none`, the names, or `all but` those that are missing where these are fewer.
pub fn text(names: &Names) -> String {
    let all: Vec<&str> = CapabilitySet::all().iter_names().map(|(name, _)| name).collect();
    let missing: Vec<&str> =
        all.iter().copied().filter(|&one| !names.iter().any(|name| name == one)).collect();
    match (names.len(), missing.len()) {
        (_, 0) => "all".to_owned(),
        (0, _) => "none".to_owned(),
        (have, lack) if lack < have => format!("all but {}", missing.join(" ")),
        _ => names.join(" "),
    }
}

impl Capabilities {
    pub fn sets(&self) -> [(&'static str, &Answer<Names>); 5] {
        [
            ("effective", &self.effective),
            ("permitted", &self.permitted),
            ("bounding", &self.bounding),
            ("inheritable", &self.inheritable),
            ("ambient", &self.ambient),
        ]
    }

    pub fn facts(&self) -> Vec<Fact> {
        let fact = |(name, set): (&str, &Answer<Names>)| {
            Fact::of(Topic::Capabilities, name, set.as_ref(), text)
        };
        self.sets().into_iter().map(fact).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_shown_by_the_shorter_list() {
        let all = CapabilitySet::all().bits();
        let table = [
            (all, "all"),
            (0, "none"),
            (1, "CHOWN"),
            (0b10_0001, "CHOWN KILL"),
            (all & !0b10_0001, "all but CHOWN KILL"),
            (1 | 1 << 60, "CHOWN 60"),
        ];
        for (bits, expected) in table {
            assert_eq!(text(&names(bits)), expected);
        }
    }
}
