//! Facts: what the table shows a line each of, and what is compared.

use crate::answer::Unknown;
use serde::{Serialize, Serializer};

/// What a fact is about, in the table's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Process,
    Hostname,
    Namespace,
    Root,
    Directory,
    Mount,
    User,
    IdMap,
    Capabilities,
    Privileges,
    Cgroup,
    Device,
    Descriptor,
    Limit,
}

impl Topic {
    pub fn title(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Hostname => "hostname",
            Self::Namespace => "namespace",
            Self::Root => "root",
            Self::Directory => "directory",
            Self::Mount => "mount",
            Self::User => "user",
            Self::IdMap => "id map",
            Self::Capabilities => "capabilities",
            Self::Privileges => "privileges",
            Self::Cgroup => "cgroup",
            Self::Device => "device",
            Self::Descriptor => "descriptor",
            Self::Limit => "limit",
        }
    }

    /// Whether facts that say the same are shown in one line.
    pub fn is_gathered(self) -> bool {
        matches!(self, Self::Capabilities | Self::Cgroup | Self::Descriptor | Self::Limit)
    }
}

/// In JSON a topic is its title.
impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.title())
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub topic: Topic,
    pub name: String,
    /// What is compared, in columns; or why it is not known.
    pub value: Result<Vec<String>, Unknown>,
    /// What is only shown: it says nothing new, or is another each time.
    pub note: String,
}

impl Fact {
    pub fn new<T: Into<String>>(
        topic: Topic,
        name: impl Into<String>,
        value: impl IntoIterator<Item = T>,
    ) -> Self {
        let value = Ok(value.into_iter().map(Into::into).collect());
        Self { topic, name: name.into(), value, note: String::new() }
    }

    pub fn unknown(topic: Topic, name: impl Into<String>, unknown: &Unknown) -> Self {
        Self { topic, name: name.into(), value: Err(unknown.clone()), note: String::new() }
    }

    /// A fact of an answer that is one text.
    pub fn of<T, S: Into<String>>(
        topic: Topic,
        name: impl Into<String>,
        answer: Result<T, &Unknown>,
        text: impl FnOnce(T) -> S,
    ) -> Self {
        let name = name.into();
        match answer {
            Ok(value) => Self::new(topic, name, [text(value)]),
            Err(unknown) => Self::unknown(topic, name, unknown),
        }
    }

    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Whether it is compared with what it was. The numbers and names of a process are not what
    /// isolates it, and its three standard descriptors are whoever's who reads and writes.
    pub fn is_compared(&self) -> bool {
        match self.topic {
            Topic::Process => false,
            Topic::Descriptor => self.value != Ok(vec!["standard".to_owned()]),
            _ => true,
        }
    }

    /// The columns that are shown, side by side.
    pub fn columns(&self) -> Vec<String> {
        let columns = match &self.value {
            Err(unknown) => vec![format!("unknown ({})", unknown.reason)],
            Ok(columns) if self.topic == Topic::Mount => crate::mounts::shown(columns),
            Ok(_) if self.topic == Topic::Descriptor => Vec::new(),
            Ok(columns) => columns.clone(),
        };
        columns.into_iter().chain(Some(self.note.clone()).filter(|note| !note.is_empty())).collect()
    }

    /// The value in one text, as a comparison shows it.
    pub fn compared(&self) -> String {
        match &self.value {
            // Which one of the machine's namespaces it is, its number tells only who knows it.
            Ok(_) if self.topic == Topic::Namespace && self.note.starts_with(MACHINE) => {
                MACHINE.to_owned()
            }
            Ok(columns) if self.topic == Topic::Descriptor => columns.join(" "),
            _ => Self { note: String::new(), ..self.clone() }.columns().join(" "),
        }
        .trim_end()
        .to_owned()
    }
}

/// What is said of a namespace that the machine started with.
pub const MACHINE: &str = "the machine's";
