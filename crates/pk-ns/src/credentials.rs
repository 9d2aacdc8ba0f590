//! The user, the groups and the limits on capabilities of a process, taken over from it.
//! `credentials(7)`, `proc_pid_status(5)`.

use pk::{Attempt, Error, IdRange, Ids, Result, Steps};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// Ids are those of the user namespace that is joined.
#[derive(Debug, PartialEq)]
pub struct Credentials {
    uid: u32,
    gid: u32,
    /// None where the user namespace forbids to change them: `user_namespaces(7)`, "setgroups".
    groups: Option<Vec<u32>>,
    /// The capabilities that it, or a program that it executes, may have at all.
    bounding: u64,
    no_new_privs: bool,
}

/// How ids of ours are called in another user namespace: `/proc/PID/uid_map` and its neighbours.
pub struct Maps {
    uids: Vec<IdRange>,
    gids: Vec<IdRange>,
}

impl Maps {
    pub fn parse(uids: &[u8], gids: &[u8]) -> Self {
        Self { uids: IdRange::of_map(uids), gids: IdRange::of_map(gids) }
    }

    fn inner_uid(&self, uid: u32) -> Option<u32> {
        self.uids.iter().find_map(|range| range.inner_of(uid))
    }

    /// Whether somebody is nobody inside, where there is a root to become.
    pub fn should_become_root(&self, uid: u32) -> bool {
        self.inner_uid(uid).is_none() && self.uids.iter().any(|range| range.inner == 0)
    }
}

impl Credentials {
    /// From `/proc/PID/status`, in our ids, and `/proc/PID/setgroups`.
    pub fn parse(status: &[u8], setgroups: &[u8]) -> Result<Self, String> {
        let status = String::from_utf8_lossy(status);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim).ok_or(format!("has no {name}"))
        };
        let numbers = |name: &str| -> Result<Vec<u32>, String> {
            let words = field(name)?.split_whitespace();
            words.map(|word| word.parse().map_err(|_| format!("has no {name}"))).collect()
        };
        // Real, effective, saved, and that of the file system.
        let effective =
            |name: &str| numbers(name)?.get(1).copied().ok_or(format!("has no effective {name}"));
        Ok(Self {
            uid: effective("Uid")?,
            gid: effective("Gid")?,
            groups: Some(numbers("Groups")?).filter(|_| !setgroups.starts_with(b"deny")),
            bounding: u64::from_str_radix(field("CapBnd")?, 16).map_err(|e| e.to_string())?,
            no_new_privs: field("NoNewPrivs").is_ok_and(|value| value == "1"),
        })
    }

    /// The same with the ids that these are in another user namespace, by its maps.
    pub fn inside(self, maps: &Maps) -> Result<Self, String> {
        let missing = |name, id| format!("{name} {id} is not mapped in its user namespace");
        // A group that has no name inside was brought along from outside, and cannot be set.
        let named = |group: u32| maps.gids.iter().find_map(|range| range.inner_of(group));
        Ok(Self {
            uid: maps.inner_uid(self.uid).ok_or_else(|| missing("Uid", self.uid))?,
            gid: named(self.gid).ok_or_else(|| missing("Gid", self.gid))?,
            groups: self.groups.map(|groups| groups.into_iter().filter_map(named).collect()),
            ..self
        })
    }

    /// Root of the namespace, for a caller whose own id is not mapped: it would be nobody inside.
    pub fn add_become_root<S: 'static>(shell: &str, steps: &mut Steps<S>) {
        let why = "the caller's own id is not mapped: it becomes the root of the namespace";
        add_ids(Ids::new(0, 0, Some(Vec::new())), why, shell.to_owned(), steps);
    }

    /// The bounding set before the user, whose change gives up the right to change it.
    pub fn add_steps<S: 'static>(self, steps: &mut Steps<S>) {
        let Self { uid, gid, groups, bounding, no_new_privs } = self;
        steps.add(
            "what the process may not have, not even by executing a setuid program",
            format!(
                "prctl(PR_CAPBSET_DROP, each that is not in {bounding:#x}), capset(inheritable=0)"
            ),
            format!(
                "exec setpriv --bounding-set=-all{} --inh-caps=-all --ambient-caps=-all sh",
                switches(bounding)
            ),
            move |_| confine(bounding),
        );
        let ids = Ids::new(uid, gid, groups);
        let shell = format!("exec setpriv {} sh", ids.setpriv());
        add_ids(ids, "the user and the groups of the process", shell, steps);
        if no_new_privs {
            steps.add(
                "as the process, PROG gains nothing by executing setuid programs",
                "prctl(PR_SET_NO_NEW_PRIVS, 1)",
                "exec setpriv --no-new-privs sh",
                |_| set_no_new_privs(true),
            );
        }
    }
}

/// A set as setpriv takes it, after others.
fn switches(set: u64) -> String {
    let set = CapabilitySet::from_bits_retain(set);
    let name = |(name, _): (&str, _)| format!(",+{}", name.to_ascii_lowercase());
    set.iter_names().map(name).collect::<Vec<_>>().concat()
}

/// Takes all out of the bounding set that is not in `bounding`, and what would pass by it.
fn confine(bounding: u64) -> Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // An error: the kernel knows no capability of that number, nor a higher one.
        let Ok(held) = capability_is_in_bounding_set(capability) else { break };
        if held && bounding & (1 << number) == 0 {
            remove_capability_from_bounding_set(capability)
                .attempt(format_args!("prctl(PR_CAPBSET_DROP, {number})"))?;
        }
    }
    clear_ambient_capability_set().attempt("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)")?;
    let held = capabilities(None).attempt("capget()")?;
    let sets = CapabilitySets { inheritable: CapabilitySet::empty(), ..held };
    set_capabilities(None, sets).attempt("capset()")
}

fn add_ids<S: 'static>(ids: Ids, why: &'static str, shell: String, steps: &mut Steps<S>) {
    steps.add(why, ids.call(), shell, move |_| {
        ids.set().map_err(|error: Error| {
            let hint = Ids::why_not(error.errno());
            error.hint(hint)
        })
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Name:\tsh\nUmask:\t0022\nUid:\t100005\t100005\t100005\t100005\n\
        Gid:\t100007\t100007\t100007\t100007\nGroups:\t100008 27 \nCapBnd:\t00000000a80425fb\n\
        NoNewPrivs:\t1\n";

    #[test]
    fn ids_are_those_of_the_namespace_that_is_joined() {
        let map: &[u8] = b"         0       1001          1\n         1     100001      65536\n";
        let credentials = |uid, gid, groups: Option<&[u32]>| Credentials {
            uid,
            gid,
            groups: groups.map(<[u32]>::to_vec),
            bounding: 0xa804_25fb,
            no_new_privs: true,
        };
        let same = || Credentials::parse(STATUS, b"allow\n");
        assert_eq!(same(), Ok(credentials(100_005, 100_007, Some(&[100_008, 27]))));
        let denied = Credentials::parse(STATUS, b"deny\n");
        assert_eq!(denied, Ok(credentials(100_005, 100_007, None)));
        let inside = |uids: &[u8]| same()?.inside(&Maps::parse(uids, map));
        assert_eq!(inside(map), Ok(credentials(5, 7, Some(&[8]))));
        assert!(inside(b"0 0 1\n").is_err());
        assert!(Credentials::parse(b"Uid:\t1\n", b"allow\n").is_err());
    }
}
