//! What a layer holds: the paths of its entries, and of the directories above them.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Paths that are only to be recognized: eight bytes are kept of each, as a layer may hold
/// millions. The key is random, so nobody can make a path that is taken for another, and by chance
/// it happens once in 2^64 pairs.
#[derive(Default)]
pub struct Held {
    hashes: HashSet<u64>,
    state: RandomState,
}

impl Held {
    /// Notes that the layer holds `path`.
    pub fn hold(&mut self, path: &Path) {
        for path in path.ancestors() {
            if !self.hashes.insert(self.hash(path)) {
                break;
            }
        }
    }

    /// Whether the layer holds `path`, or something below it.
    pub fn contains(&self, path: &Path) -> bool {
        self.hashes.contains(&self.hash(path))
    }

    fn hash(&self, path: &Path) -> u64 {
        self.state.hash_one(path.as_os_str().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_held_with_those_above_it() {
        let mut held = Held::default();
        held.hold(Path::new("a/b/c"));
        held.hold(Path::new("a/d"));
        let table = [("a/b/c", true), ("a/b", true), ("a", true), ("a/d", true), ("a/b/d", false)];
        for (path, expected) in table {
            assert_eq!(held.contains(Path::new(path)), expected, "{path}");
        }
    }
}
