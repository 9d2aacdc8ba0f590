//! Users and groups, and what the user namespace makes of them. `user_namespaces(7)`.

use crate::answer::{Answer, Unknown};
use crate::fact::{Fact, Topic};
use crate::process::{Process, numbers};
use nix::unistd::{getgroups, getresgid, getresuid};
use pk::IdRange;
use serde::{Deserialize, Serialize};

/// The three ids of a process of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Ids {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
}

/// `count` ids from `inner` on, which outside are those from `outer` on. Outside is the user
/// namespace of who asks, or the one above if that is the same.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Range {
    pub inner: u32,
    pub outer: u32,
    pub count: u32,
}

/// Who it is.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct User {
    pub uid: Answer<Ids>,
    pub gid: Answer<Ids>,
    pub groups: Answer<Vec<u32>>,
}

/// The maps of its user namespace.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Maps {
    pub uid: Answer<Vec<Range>>,
    pub gid: Answer<Vec<Range>>,
}

pub fn read(process: &Process) -> User {
    if process.is_own {
        return own();
    }
    let ids = |name| -> Result<Ids, Unknown> {
        match numbers(process.status(name)?)[..] {
            [real, effective, saved, ..] => Ok(Ids { real, effective, saved }),
            _ => Err(Unknown::not_told()),
        }
    };
    let groups = process.status("Groups").map(numbers);
    User { uid: ids("Uid").into(), gid: ids("Gid").into(), groups: groups.into() }
}

fn own() -> User {
    let uid = getresuid().map_err(Unknown::from).map(|ids| Ids {
        real: ids.real.as_raw(),
        effective: ids.effective.as_raw(),
        saved: ids.saved.as_raw(),
    });
    let gid = getresgid().map_err(Unknown::from).map(|ids| Ids {
        real: ids.real.as_raw(),
        effective: ids.effective.as_raw(),
        saved: ids.saved.as_raw(),
    });
    let groups = getgroups().map_err(Unknown::from);
    let groups = groups.map(|groups| groups.into_iter().map(nix::unistd::Gid::as_raw).collect());
    User { uid: uid.into(), gid: gid.into(), groups: groups.into() }
}

pub fn maps(process: &Process) -> Maps {
    let map = |name| process.read(name).map(|text| ranges(&text));
    Maps { uid: map("uid_map").into(), gid: map("gid_map").into() }
}

fn ranges(map: &[u8]) -> Vec<Range> {
    let range = |IdRange { inner, outer, count }| Range { inner, outer, count };
    IdRange::of_map(map).into_iter().map(range).collect()
}

impl User {
    pub fn facts(&self) -> Vec<Fact> {
        vec![
            Fact::of(Topic::User, "uid", self.uid.as_ref(), |ids| ids.text()),
            Fact::of(Topic::User, "gid", self.gid.as_ref(), |ids| ids.text()),
            Fact::of(Topic::User, "groups", self.groups.as_ref(), |groups| {
                if groups.is_empty() { "none".to_owned() } else { list(groups) }
            }),
        ]
    }
}

impl Maps {
    pub fn facts(&self) -> Vec<Fact> {
        let fact = |name, map: &Answer<Vec<Range>>| {
            Fact::of(Topic::IdMap, name, map.as_ref(), |ranges: &Vec<Range>| text(ranges))
        };
        vec![fact("uid", &self.uid), fact("gid", &self.gid)]
    }
}

impl Ids {
    fn text(self) -> String {
        let Self { real, effective, saved } = self;
        if real == effective && effective == saved {
            return real.to_string();
        }
        format!("{effective} (real {real}, saved {saved})")
    }
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// The words of `pk-ns --uid-map`, but for the one of the machine itself.
pub fn text(ranges: &[Range]) -> String {
    let all = Range { inner: 0, outer: 0, count: u32::MAX };
    match ranges {
        [] => "none: every id is nobody's".to_owned(),
        [one] if *one == all => "every id is itself".to_owned(),
        _ => {
            let text = |range: &Range| format!("{}:{}:{}", range.inner, range.outer, range.count);
            ranges.iter().map(text).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_shown_as_options_take_them() {
        let table = [
            ("         0          0 4294967295\n", "every id is itself"),
            ("0 1000 1\n1 100000 65536\n", "0:1000:1 1:100000:65536"),
            ("", "none: every id is nobody's"),
        ];
        for (map, expected) in table {
            assert_eq!(text(&ranges(map.as_bytes())), expected);
        }
    }
}
