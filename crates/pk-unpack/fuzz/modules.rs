// What applies layers, as pk-unpack has it.
#[path = "../src/copy_up.rs"]
mod copy_up;
#[path = "../src/entry.rs"]
#[allow(dead_code)]
mod entry;
#[path = "../src/held.rs"]
mod held;
#[path = "../src/inode.rs"]
#[allow(dead_code)]
mod inode;
#[path = "../src/limits.rs"]
#[allow(dead_code)]
mod limits;
#[path = "../src/lower.rs"]
#[allow(dead_code)]
mod lower;
#[path = "../src/merged.rs"]
mod merged;
#[path = "../src/metadata.rs"]
mod metadata;
#[path = "../src/name.rs"]
mod name;
#[path = "../src/pax.rs"]
#[allow(dead_code)]
mod pax;
#[path = "../src/removal.rs"]
mod removal;
#[path = "../src/root.rs"]
#[allow(dead_code)]
mod root;
#[path = "sandbox.rs"]
mod sandbox;
#[path = "../src/sparse.rs"]
mod sparse;
#[path = "../src/symlink.rs"]
mod symlink;
#[path = "../src/tree.rs"]
#[allow(dead_code)]
mod tree;
#[path = "../src/whiteout.rs"]
mod whiteout;
