//! A group of a test's own, at the top of every hierarchy.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const CONTROLLERS: [&str; 6] = ["memory", "pids", "cpu", "cpuset", "blkio", "freezer"];

/// Removed at the end.
pub struct Group {
    path: String,
    directories: Vec<PathBuf>,
}

/// Where the hierarchies are mounted.
pub fn mounts() -> Vec<PathBuf> {
    mounted(|kind, options| {
        kind == "cgroup2" || options.split(',').any(|option| CONTROLLERS.contains(&option))
    })
}

/// Where the v2 hierarchy is mounted.
pub fn v2() -> Option<PathBuf> {
    mounted(|kind, _| kind == "cgroup2").pop()
}

fn mounted(wanted: impl Fn(&str, &str) -> bool) -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let parse = |line: &str| {
        let (mount, file_system) = line.split_once(" - ")?;
        let (kind, rest) = file_system.split_once(' ')?;
        let options = rest.split(' ').nth(1)?;
        let is_ours = kind.starts_with("cgroup") && wanted(kind, options);
        is_ours.then(|| PathBuf::from(mount.split(' ').nth(4).unwrap()))
    };
    mountinfo.lines().filter_map(parse).collect()
}

impl Group {
    /// `None`, and SKIP, where this user cannot make it.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::getuid().is_root() {
            println!("SKIP making groups needs root");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = format!("/pk-test-{}-{number}", std::process::id());
        let mut group = Self { path, directories: Vec::new() };
        for point in mounts() {
            let directory = point.join(&group.path[1..]);
            if let Err(error) = fs::create_dir(&directory) {
                println!("SKIP mkdir({directory:?}): {error}");
                return None;
            }
            // v1's cpuset: empty, no process could enter a group below it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(above) = fs::read_to_string(point.join(file)) {
                    fs::write(directory.join(file), above.trim()).unwrap();
                }
            }
            group.directories.push(directory);
        }
        Some(group)
    }

    /// As `--parent` takes it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The names of the groups in it.
    pub fn children(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .directories
            .iter()
            .flat_map(|directory| fs::read_dir(directory).unwrap().flatten())
            .filter(|entry| entry.file_type().unwrap().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in &self.directories {
            if let Err(error) = fs::remove_dir(directory) {
                eprintln!("rmdir({directory:?}): {error}");
            }
        }
    }
}
