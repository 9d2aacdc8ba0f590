//! Whom PROG runs as: users and groups of ROOT, not of the host.

use pk::{Accounts, Error, Ids, Result, Steps};
use std::ffi::OsString;

/// Whom to become.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub uid: u32,
    gid: u32,
    groups: Vec<u32>,
    pub home: OsString,
}

impl Identity {
    /// `USER[:GROUP]`, each a name or a number. As Docker does: with a GROUP there are no
    /// supplementary groups.
    pub fn find(spec: &str, accounts: &Accounts) -> Result<Self> {
        let (user, group) =
            spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
        let unknown = |what, file| {
            Error::new(format!("--user {spec:?}"), format!("no such {what} in ROOT's {file}"))
        };
        let user = accounts.user(user).ok_or_else(|| unknown("user", "/etc/passwd"))?;
        let (gid, groups) = match group {
            None => (user.gid, user.groups),
            Some(group) => {
                let gid = accounts.group(group);
                (gid.ok_or_else(|| unknown("group", "/etc/group"))?, Vec::new())
            }
        };
        Ok(Self { uid: user.uid, gid, groups, home: user.home })
    }

    pub fn add_step(self, steps: &mut Steps) {
        let ids = Ids::of_user(self.uid, self.gid, self.groups);
        let shell = format!("exec setpriv {} sh", ids.setpriv());
        steps.add(
            "groups first: without root they cannot be changed",
            ids.call(),
            shell,
            move |()| {
                ids.set().map_err(|error| {
                    let hint = Ids::why_not(error.errno());
                    error.hint(hint)
                })
            },
        );
    }
}
