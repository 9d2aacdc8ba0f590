//! The policy on faked hierarchies: directories and files instead of the kernel's.

use super::*;
use std::fs;
use tempfile::TempDir;

/// A hierarchy in a temporary directory.
struct Fake {
    directory: TempDir,
    version: Version,
    controllers: &'static str,
}

impl Fake {
    fn new(version: Version, controllers: &'static str) -> Self {
        let fake = Self { directory: tempfile::tempdir().unwrap(), version, controllers };
        fake.group("", controllers, controllers, "1\n2\n");
        fake
    }

    /// A group; a v2 hierarchy's root has no `cgroup.type`.
    fn group(&self, path: &str, has: &str, hands_on: &str, processes: &str) -> &Self {
        let group = self.at(path);
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cgroup.procs"), processes).unwrap();
        if self.version == Version::V2 {
            fs::write(group.join("cgroup.controllers"), has).unwrap();
            fs::write(group.join("cgroup.subtree_control"), hands_on).unwrap();
            if !path.is_empty() {
                fs::write(group.join("cgroup.type"), "domain\n").unwrap();
            }
        }
        self
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path).components().collect()
    }

    fn hierarchy(&self, own: Option<&str>) -> Hierarchy {
        Hierarchy {
            version: self.version,
            controllers: self.controllers.split_whitespace().map(str::to_owned).collect(),
            point: self.at(""),
            own: own.map(|own| self.at(own)),
        }
    }
}

fn anonymous(parent: Option<&str>) -> Place {
    let parent = parent.map(|parent| parent.parse().unwrap());
    Place { name: Name::Anonymous("pk-anonymous.1.a".to_owned()), parent }
}

fn named(name: &str) -> Place {
    Place { name: name.parse().unwrap(), parent: None }
}

fn limits(memory: Option<&str>, pids: Option<&str>, cpuset: Option<&str>) -> Limits {
    Limits {
        memory: memory.map(|text| text.parse().unwrap()),
        pids: pids.map(|text| text.parse().unwrap()),
        cpuset: cpuset.map(|text| text.parse().unwrap()),
        ..Limits::default()
    }
}

fn memory() -> Limits {
    limits(Some("1M"), None, None)
}

/// Our own group, the limits, the parent chosen, and what is handed on by which group.
type Row<'a> = (&'a str, &'a str, Limits, &'a str, &'a [(&'a str, &'a str)]);

fn pids() -> Limits {
    limits(None, Some("3"), None)
}

#[test]
fn an_anonymous_group_of_v2_goes_to_the_nearest_ancestor_that_can() {
    let fake = Fake::new(Version::V2, "memory pids");
    fake.group("a", "memory pids", "memory", "")
        .group("a/b", "memory", "", "")
        .group("a/b/c", "", "", "7\n")
        .group("a/t", "", "", "8\n");
    fs::write(fake.at("a/t/cgroup.type"), "domain threaded\n").unwrap();
    let table: &[Row] = &[
        ("no limit: inside our own", "a/b/c", Limits::default(), "a/b/c", &[]),
        ("not handed on to our own", "a/b/c", memory(), "a/b", &[("a/b", "+memory")]),
        ("nor to the one above", "a/b/c", pids(), "a", &[("a", "+pids")]),
        ("handed on already", "a", memory(), "a", &[]),
        ("the root may hold processes", "", memory(), "", &[]),
        ("below one of threads", "a/t", Limits::default(), "a", &[]),
    ];
    for (what, own, limits, parent, hand_on) in table {
        let parts = anonymous(None).parts(&[fake.hierarchy(Some(own))], limits).unwrap();
        assert_eq!(parts.len(), 1, "{what}");
        assert_eq!(parts[0].directory.parent(), Some(fake.at(parent).as_path()), "{what}");
        let expected: Vec<_> = hand_on
            .iter()
            .map(|&(group, text)| (fake.at(group).join("cgroup.subtree_control"), text.to_owned()))
            .collect();
        assert_eq!(parts[0].hand_on, expected, "{what}");
    }
}

#[test]
fn where_no_group_can_hand_on_the_step_is_tried_so_that_the_kernel_says_why() {
    // The root of a container's cgroup namespace: not the real root, and full of processes.
    let fake = Fake::new(Version::V2, "memory");
    fake.group("", "memory", "", "1\n2\n");
    fs::write(fake.at("cgroup.type"), "domain\n").unwrap();
    let parts = anonymous(None).parts(&[fake.hierarchy(Some(""))], &memory()).unwrap();
    assert_eq!(parts[0].hand_on, [(fake.at("cgroup.subtree_control"), "+memory".to_owned())]);
}

#[test]
fn a_parent_gets_its_controllers_from_the_top_down() {
    let fake = Fake::new(Version::V2, "memory pids");
    fake.group("", "memory pids", "pids", "1\n")
        .group("a", "pids", "", "")
        .group("a/b", "", "", "");
    let both = limits(Some("1M"), Some("3"), None);
    let parts = anonymous(Some("/a/b")).parts(&[fake.hierarchy(Some(""))], &both).unwrap();
    let expected = [("", "+memory"), ("a", "+memory +pids"), ("a/b", "+memory +pids")];
    let expected =
        expected.map(|(group, text)| (fake.at(group).join("cgroup.subtree_control"), text.into()));
    assert_eq!(parts[0].hand_on, expected);
    assert!(anonymous(Some("/none")).parts(&[fake.hierarchy(Some(""))], &both).is_err());
}

#[test]
fn on_a_hybrid_machine_each_controller_is_taken_where_it_is() {
    let (v2, v1) = (Fake::new(Version::V2, "hugetlb"), Fake::new(Version::V1, "memory"));
    let unused = Fake::new(Version::V1, "pids");
    v1.group("own", "", "", "1\n");
    let machine = [v1.hierarchy(Some("own")), unused.hierarchy(Some("")), v2.hierarchy(Some(""))];
    let parts = anonymous(None).parts(&machine, &memory()).unwrap();
    let directories: Vec<_> = parts.iter().map(|part| part.directory.clone()).collect();
    let name = "pk-anonymous.1.a";
    assert_eq!(directories, [v2.at(name), v1.at("own").join(name)], "v2 is the home");
    assert!(parts[0].settings.is_empty() && parts[0].hand_on.is_empty());
    assert_eq!(parts[1].settings[0].file, "memory.limit_in_bytes");
    let siblings = anonymous(None).siblings(&machine, &parts).unwrap();
    let mut expected = vec![v2.at(""), v1.at("own"), unused.at("")];
    expected.sort();
    assert_eq!(siblings, expected, "left-overs are looked for in every hierarchy");
}

#[test]
fn without_v2_the_freezer_is_the_home() {
    let (memory_, freezer) = (Fake::new(Version::V1, "memory"), Fake::new(Version::V1, "freezer"));
    let machine = [memory_.hierarchy(Some("")), freezer.hierarchy(Some(""))];
    let parts = anonymous(None).parts(&machine, &memory()).unwrap();
    assert!(parts[0].directory.starts_with(freezer.at("")));
    assert_eq!(parts.len(), 2);
    assert!(anonymous(None).parts(&[], &Limits::default()).is_err(), "no cgroups at all");
}

#[test]
fn a_named_group_is_found_again_from_another_group() {
    let fake = Fake::new(Version::V1, "pids");
    fake.group("a", "", "", "1\n").group("b", "", "", "2\n");
    let from = |own| named("box").parts(&[fake.hierarchy(Some(own))], &pids()).unwrap();
    assert_eq!(from("a")[0].directory, fake.at("box"));
    assert_eq!(from("b")[0].directory, fake.at("box"));
    assert!(named("box").existing(&[fake.hierarchy(Some("a"))]).is_err());
    fake.group("box", "", "", "");
    assert_eq!(named("box").existing(&[fake.hierarchy(Some("b"))]).unwrap(), [fake.at("box")]);
}

#[test]
fn a_named_group_is_joined_wherever_it_is() {
    let (v2, v1) = (Fake::new(Version::V2, ""), Fake::new(Version::V1, "memory"));
    let machine = [v1.hierarchy(Some("")), v2.hierarchy(Some(""))];
    let count = || named("box").parts(&machine, &Limits::default()).unwrap().len();
    assert_eq!(count(), 1, "the home only");
    v1.group("box", "", "", "");
    assert_eq!(count(), 2, "its limits hold for those who join");
}

#[test]
fn a_group_of_the_cpuset_of_v1_is_filled_from_the_one_above() {
    let fake = Fake::new(Version::V1, "cpuset");
    let fill = |group: &str, cpus: &str, mems: &str| {
        fs::create_dir_all(fake.at(group)).unwrap();
        fs::write(fake.at(group).join("cpuset.cpus"), cpus).unwrap();
        fs::write(fake.at(group).join("cpuset.mems"), mems).unwrap();
    };
    let settings = |limits: &Limits| {
        let parts = named("box").parts(&[fake.hierarchy(Some(""))], limits);
        parts.map(|mut parts| {
            let settings = parts.remove(0).settings.into_iter();
            settings.map(|set| format!("{}={}", set.file, set.value)).collect::<Vec<_>>()
        })
    };
    let cpuset = limits(None, None, Some("1"));
    fill("", "0-3\n", "0\n");
    assert_eq!(settings(&cpuset).unwrap(), ["cpuset.mems=0", "cpuset.cpus=1"]);
    assert_eq!(settings(&Limits::default()).unwrap(), ["cpuset.mems=0", "cpuset.cpus=0-3"]);
    fill("box", "2\n", "0\n");
    assert!(settings(&Limits::default()).unwrap().is_empty(), "what is set stays");
    fill("box", "\n", "\n");
    fill("", "\n", "\n");
    assert!(settings(&cpuset).is_err());
}

#[test]
fn a_missing_controller_is_named_and_where_it_was_looked_for() {
    let (v2, v1) = (Fake::new(Version::V2, "hugetlb"), Fake::new(Version::V1, "cpu cpuacct"));
    let machine = [v2.hierarchy(Some("")), v1.hierarchy(Some(""))];
    let io = Limits { io_max: vec!["8:0:rbps=1M".parse().unwrap()], ..Limits::default() };
    let error = format!("{:?}", anonymous(None).parts(&machine, &io).unwrap_err());
    for word in ["--io-max", "no io (v1: blkio) controller", "(v2: hugetlb)", "(v1: cpu cpuacct)"] {
        assert!(error.contains(word), "{word} in {error}");
    }
}

#[test]
fn a_group_that_cannot_be_seen_needs_a_parent() {
    let fake = Fake::new(Version::V2, "memory");
    let machine = [fake.hierarchy(None)];
    let error = anonymous(None).parts(&machine, &memory()).unwrap_err();
    assert!(format!("{error:?}").contains("--parent"));
    assert!(anonymous(Some("/")).parts(&machine, &memory()).is_ok());
    assert_eq!(named("box").parts(&machine, &memory()).unwrap()[0].directory, fake.at("box"));
}
