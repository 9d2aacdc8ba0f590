//! `--tree`: the namespaces of this machine as boxes in boxes, with the processes in them.
//!
//! User and PID namespaces nest, and the kernel says in what: `NS_GET_PARENT` and `NS_GET_USERNS`
//! of `ioctl_nsfs(2)`. The other six do not; who has others than those around stands in a box inside.

use crate::namespaces::Kind;
use crate::process::Process;
use crate::sys;
use pk::{Attempt, Result};
use rustix::fs::fstat;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

/// Namespaces by their inodes.
pub type Inodes = BTreeMap<Kind, u64>;

/// A process, by the number that it has in this PID namespace and the one in its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    pub pid: u32,
    pub inside: u32,
    pub name: String,
}

/// Processes that share all their namespaces, and the boxes around other ones.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Node {
    /// Those that the box around has not.
    pub namespaces: Inodes,
    pub processes: Vec<Member>,
    pub boxes: Vec<Self>,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Tree {
    pub machine: Node,
    /// Threads of the kernel's own, which are left out.
    pub kernel_threads: usize,
    /// Processes of others, of which it may not be read where they are.
    pub hidden: usize,
}

/// A process with all its namespaces, and the user and PID namespaces that these are nested in,
/// the outermost first and the own last.
struct Placed {
    member: Member,
    way: Vec<(Kind, u64)>,
    namespaces: Inodes,
}

impl Tree {
    pub fn read() -> Result<Self> {
        let mut tree = Self::default();
        let mut ways = BTreeMap::new();
        let mut placed = Vec::new();
        for entry in fs::read_dir("/proc").attempt("open(\"/proc\")")? {
            let name = entry.attempt("readdir(\"/proc\")")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // It may have ended by now.
            let Ok(process) = Process::open(pid) else { continue };
            match (is_kernel_thread(&process), place(&process, pid, &mut ways)) {
                (None, _) => {}
                (Some(true), _) => tree.kernel_threads += 1,
                (Some(false), Some(one)) => placed.push(one),
                (Some(false), None) => tree.hidden += 1,
            }
        }
        placed.sort_by_key(|one| one.member.pid);
        tree.machine = nested(placed);
        Ok(tree)
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are text") + "\n"
    }
}

/// `PF_KTHREAD` of the flags in `proc_pid_stat(5)`; nothing for a process that is gone.
fn is_kernel_thread(process: &Process) -> Option<bool> {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let stat = String::from_utf8_lossy(&process.read("stat").ok()?).into_owned();
    // Behind the name come the state, five numbers, and the flags.
    let flags: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(6)?.parse().ok()?;
    Some(flags & PF_KTHREAD != 0)
}

/// The ways that were found already, by the user and the PID namespace that they lead to.
type Ways = BTreeMap<(u64, u64), Vec<(Kind, u64)>>;

fn place(process: &Process, pid: u32, ways: &mut Ways) -> Option<Placed> {
    let mut namespaces = Inodes::new();
    for kind in Kind::ALL {
        let link = process.link(&format!("ns/{}", kind.file())).ok()?;
        let link = String::from_utf8(link).ok()?;
        let inode = link.split_once(":[")?.1.trim_end_matches(']').parse().ok()?;
        namespaces.insert(kind, inode);
    }
    let identity = process.identity();
    let member =
        Member { pid, inside: *identity.pid.known()?, name: identity.name.known()?.clone() };
    let own = (namespaces[&Kind::User], namespaces[&Kind::Pid]);
    let way = match ways.entry(own) {
        Entry::Occupied(way) => way.get().clone(),
        Entry::Vacant(none) => none.insert(way(process)?).clone(),
    };
    Some(Placed { member, way, namespaces })
}

/// From the outermost namespaces that can be seen on: each user namespace, followed by the PID
/// namespaces that belong to it.
fn way(process: &Process) -> Option<Vec<(Kind, u64)>> {
    let users = ancestors(process.file("ns/user").ok()?)?;
    let mut pids = Vec::new();
    for namespace in ancestors(process.file("ns/pid").ok()?)? {
        let owner = sys::owner(&namespace).and_then(|owner| inode(&owner));
        pids.push((inode(&namespace).ok()?, owner.ok()));
    }
    let users: Vec<u64> = users.iter().map(inode).collect::<nix::Result<_>>().ok()?;
    let mut way = Vec::new();
    for &user in &users {
        way.push((Kind::User, user));
        let is_last = Some(&user) == users.last();
        // One whose owner is not on the way stands in the innermost.
        let belongs = |owner: &Option<u64>| match owner {
            Some(owner) if users.contains(owner) => *owner == user,
            Some(_) => is_last,
            None => Some(&user) == users.first(),
        };
        let own = pids.iter().filter(|(_, owner)| belongs(owner));
        way.extend(own.map(|(pid, _)| (Kind::Pid, *pid)));
    }
    Some(way)
}

/// A namespace behind those that it is in, as far as it may be asked: its parent's are refused to
/// who is not in one above.
fn ancestors(namespace: OwnedFd) -> Option<Vec<OwnedFd>> {
    let mut found = vec![namespace];
    while let Ok(parent) = sys::parent(found.last()?) {
        found.push(parent);
    }
    found.reverse();
    Some(found)
}

fn inode(namespace: impl AsFd) -> nix::Result<u64> {
    fstat(namespace)
        .map(|file| file.st_ino)
        .map_err(|errno| nix::errno::Errno::from_raw(errno.raw_os_error()))
}

/// Puts each process at the end of its way.
fn nested(placed: Vec<Placed>) -> Node {
    let mut nodes: BTreeMap<Vec<(Kind, u64)>, Vec<Placed>> = BTreeMap::new();
    // The outermost user and PID namespaces are those of all who are seen.
    let common = shared(&placed);
    for one in placed {
        let way = one.way[common.min(one.way.len())..].to_vec();
        nodes.entry(way).or_default().push(one);
    }
    branch(&[], &nodes, &Inodes::new())
}

/// How far all go the same way.
fn shared(placed: &[Placed]) -> usize {
    let Some(first) = placed.first() else { return 0 };
    let is_common = |&at: &usize| placed.iter().all(|one| one.way.get(at) == first.way.get(at));
    (0..first.way.len()).take_while(is_common).count()
}

/// The box at the end of `way`, and those in it. `around` are the namespaces outside.
fn branch(
    way: &[(Kind, u64)],
    nodes: &BTreeMap<Vec<(Kind, u64)>, Vec<Placed>>,
    around: &Inodes,
) -> Node {
    let here = nodes.get(way).map_or(&[][..], Vec::as_slice);
    // Those whose way only leads through here, by its next part.
    let mut next: Vec<(Kind, u64)> = nodes
        .keys()
        .filter(|other| other.len() > way.len() && other.starts_with(way))
        .map(|other| other[way.len()])
        .collect();
    next.dedup();
    // What the first process has, which is the init of a PID namespace, the others are shown beside.
    let mut inside = around.clone();
    inside.extend(way.iter().copied());
    if let Some(first) = here.first() {
        inside.clone_from(&first.namespaces);
    }
    let mut groups: BTreeMap<&Inodes, Vec<Member>> = BTreeMap::new();
    for one in here {
        groups.entry(&one.namespaces).or_default().push(one.member.clone());
    }
    let processes = groups.remove(&inside).unwrap_or_default();
    let mut boxes: Vec<Node> = groups
        .into_iter()
        .map(|(namespaces, processes)| Node {
            namespaces: unlike(namespaces, &inside),
            processes,
            boxes: Vec::new(),
        })
        .collect();
    boxes.extend(next.into_iter().map(|part| branch(&[way, &[part]].concat(), nodes, &inside)));
    let namespaces = unlike(&inside, around);
    match <[Node; 1]>::try_from(boxes) {
        // A user namespace with nobody in it but in the PID namespace that it holds.
        Ok([only]) if processes.is_empty() => {
            Node { namespaces: namespaces.into_iter().chain(only.namespaces).collect(), ..only }
        }
        Ok(only) => Node { namespaces, processes, boxes: only.into() },
        Err(boxes) => Node { namespaces, processes, boxes },
    }
}

fn unlike(namespaces: &Inodes, others: &Inodes) -> Inodes {
    let differs = |(kind, inode): &(&Kind, &u64)| others.get(kind) != Some(inode);
    namespaces.iter().filter(differs).map(|(kind, inode)| (*kind, *inode)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespaces::Kind::{Mount, Pid, User};

    /// A process in namespaces of three kinds, and its way through the nested ones.
    fn placed(pid: u32, way: &[(Kind, u64)], mount: u64) -> Placed {
        let last = |kind| way.iter().rfind(|(other, _)| *other == kind).unwrap().1;
        let namespaces = [(User, last(User)), (Pid, last(Pid)), (Mount, mount)].into();
        let member = Member { pid, inside: pid, name: "x".to_owned() };
        Placed { member, way: way.to_vec(), namespaces }
    }

    /// A box as a text: what it has of its own, its processes, the boxes in it.
    fn text(node: &Node) -> String {
        let namespaces: Vec<String> = node
            .namespaces
            .iter()
            .map(|(kind, inode)| format!("{} {inode}", kind.name()))
            .collect();
        let processes: Vec<String> =
            node.processes.iter().map(|process| process.pid.to_string()).collect();
        let boxes: Vec<String> =
            node.boxes.iter().map(|inner| format!(" [{}]", text(inner))).collect();
        format!("{}: {}{}", namespaces.join(", "), processes.join(" "), boxes.concat())
    }

    #[test]
    fn processes_stand_at_the_end_of_their_way() {
        let machine = [(User, 1), (Pid, 2)];
        let way = |more: &[(Kind, u64)]| [&machine, more].concat();
        let tree = nested(vec![
            placed(1, &machine, 3),
            placed(2, &machine, 3),
            placed(3, &machine, 4),
            placed(4, &way(&[(User, 5), (Pid, 6)]), 7),
            placed(5, &way(&[(User, 5), (Pid, 6), (Pid, 8)]), 7),
            placed(6, &way(&[(Pid, 9)]), 3),
        ]);
        let expected = "mount 3, pid 2, user 1: 1 2 \
            [mount 4: 3] [pid 9: 6] [mount 7, pid 6, user 5: 4 [pid 8: 5]]";
        assert_eq!(text(&tree), expected);
        assert_eq!(text(&nested(Vec::new())), ": ");
    }
}
