//! A private directory: the throw-away root, and beside it a tree that must never change.

use crate::entry::Skip;
use crate::removal;
use crate::tree::Tree;
use rustix::fs::CWD;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::OnceLock;

/// `scripts/fuzz` mounts a tmpfs there that only the fuzzer sees.
const PLACE: &str = "/dev/shm/pk";
const ROOT: &str = "/dev/shm/pk/root";

impl Skip for BufReader<&[u8]> {}

/// Applies layers, which may be refused, and checks that nothing outside has changed.
pub fn apply(layers: &[&[u8]]) {
    static BEFORE: OnceLock<String> = OnceLock::new();
    let before = BEFORE.get_or_init(|| {
        let _ = removal::remove(CWD, PLACE.as_ref());
        fs::create_dir_all(format!("{PLACE}/canary/d")).unwrap();
        fs::write(format!("{PLACE}/canary/f"), "canary").unwrap();
        fs::write(format!("{PLACE}/canary/d/f"), "canary").unwrap();
        symlink("d", format!("{PLACE}/canary/l")).unwrap();
        state(PLACE.as_ref())
    });
    fs::create_dir(ROOT).unwrap();
    let root = File::open(ROOT).unwrap();
    let mut tree = Tree::new(root.as_fd()).unwrap();
    let applied = layers.iter().try_for_each(|tar| tree.apply("layer", BufReader::new(*tar)));
    let _ = applied.and_then(|()| tree.finish());
    drop(tree);
    removal::remove(CWD, ROOT.as_ref()).unwrap();
    assert_eq!(*before, state(PLACE.as_ref()));
}

/// All there is below a directory, with the times of the last change of anything.
fn state(directory: &Path) -> String {
    let mut found = String::new();
    let mut names = removal::names(File::open(directory).unwrap()).unwrap();
    names.sort();
    for name in names {
        let path = directory.join(name);
        let stat = fs::symlink_metadata(&path).unwrap();
        let (mode, links, changed) = (stat.mode(), stat.nlink(), (stat.ctime(), stat.ctime_nsec()));
        found += &format!("{path:?} {mode:o} {links} {} {changed:?}\n", stat.size());
        if stat.is_dir() {
            found += &state(&path);
        }
    }
    found
}
