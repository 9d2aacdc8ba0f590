//! Symlinks that point out of the root, judged by their targets alone.

use std::path::{Component, Path};

/// Whether a symlink in the directory `above`, a real path below the root, points out of the root:
/// with an absolute target, or with more `..` than there are directories above.
///
/// In a container both mean something harmless. But no archiver of a tree writes through such a
/// link, and what does would have been written elsewhere by a less careful reader.
pub fn points_out(above: &Path, target: &Path) -> bool {
    let mut depth = above.components().count();
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir => return true,
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_from_where_they_are() {
        let table = [
            ("", "usr/lib", false),
            ("", ".", false),
            ("", "", false),
            ("", "..", true),
            ("", "/", true),
            ("a", "/proc/self", true),
            ("a", "..", false),
            ("a", "../..", true),
            ("a/b", "../../c/../..", true),
            ("a/b", "../../c", false),
            ("a", "x/../../..", true),
        ];
        for (above, target, expected) in table {
            assert_eq!(points_out(above.as_ref(), target.as_ref()), expected, "{above} {target}");
        }
    }
}
