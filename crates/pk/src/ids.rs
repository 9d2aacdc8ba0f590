//! The user and the groups of a process, and becoming them. `credentials(7)`, "User and group
//! identifiers".

use crate::Result;
use crate::fork::keep_parent_death_signal;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::fs;

/// Whom to become: real, effective and saved ids alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Ids {
    uid: u32,
    gid: u32,
    /// None where they stay as they are.
    groups: Option<Vec<u32>>,
}

impl Ids {
    /// The ids as they are to be, in this process's user namespace; `groups` stay as they are if
    /// they are `None`.
    #[must_use]
    pub fn new(uid: u32, gid: u32, groups: Option<Vec<u32>>) -> Self {
        Self { uid, gid, groups }
    }

    /// The same where the groups are those of a user. A user namespace that maps one group only
    /// forbids setgroups for good, which is an error only if there is a group to be set.
    #[must_use]
    pub fn of_user(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        let groups = Some(groups).filter(|groups| !groups.is_empty() || !is_setgroups_denied());
        Self { uid, gid, groups }
    }

    /// What sets them, as strace writes it.
    #[must_use]
    pub fn call(&self) -> String {
        let Self { uid, gid, groups } = self;
        let list = groups.iter().flatten().map(u32::to_string).collect::<Vec<_>>();
        let setgroups = match list.len() {
            _ if groups.is_none() => String::new(),
            0 => "setgroups(0, NULL), ".to_owned(),
            count => format!("setgroups({count}, [{}]), ", list.join(", ")),
        };
        format!("{setgroups}setresgid({gid}, {gid}, {gid}), setresuid({uid}, {uid}, {uid})")
    }

    /// As options of `setpriv(1)`.
    #[must_use]
    pub fn setpriv(&self) -> String {
        let Self { uid, gid, groups } = self;
        let list = groups.iter().flatten().map(u32::to_string).collect::<Vec<_>>();
        let setgroups = match list.len() {
            _ if groups.is_none() => "--keep-groups ".to_owned(),
            0 => "--clear-groups ".to_owned(),
            _ => format!("--groups {} ", list.join(",")),
        };
        format!("{setgroups}--regid {gid} --reuid {uid}")
    }

    /// Sets them: groups before the user, whose change gives up the right to change them.
    pub fn set(&self) -> Result<()> {
        let (user, group) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        keep_parent_death_signal(|| {
            if let Some(groups) = &self.groups {
                setgroups(&groups.iter().copied().map(Gid::from_raw).collect::<Vec<_>>())?;
            }
            setresgid(group, group, group)?;
            Ok(setresuid(user, user, user)?)
        })
    }

    /// What this process's user namespace has to do with a refusal.
    #[must_use]
    pub fn why_not(errno: Option<Errno>) -> Option<String> {
        if errno == Some(Errno::EINVAL) {
            let hint =
                "an id is not mapped in this user namespace: pk-ns --map-auto maps more than one";
            return Some(hint.to_owned());
        }
        is_setgroups_denied().then(|| {
            "this user namespace maps one group only, and has no others: pk-ns --map-auto"
                .to_owned()
        })
    }
}

/// `user_namespaces(7)`, "The /proc/PID/setgroups file".
fn is_setgroups_denied() -> bool {
    fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "deny")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_strace_and_setpriv_write_them() {
        let table = [
            (None, "", "--keep-groups "),
            (Some(vec![]), "setgroups(0, NULL), ", "--clear-groups "),
            (Some(vec![5, 44]), "setgroups(2, [5, 44]), ", "--groups 5,44 "),
        ];
        for (groups, call, options) in table {
            let ids = Ids::new(1, 2, groups);
            let all = format!("{call}setresgid(2, 2, 2), setresuid(1, 1, 1)");
            assert_eq!((ids.call(), ids.setpriv()), (all, format!("{options}--regid 2 --reuid 1")));
        }
    }
}
