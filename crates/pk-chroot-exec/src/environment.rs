//! PROG's environment.

use pk::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;

/// What Docker sets where an image does not.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names and values, in order, each name once.
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// The caller's, but for the home of another user.
    pub fn inherited(home: Option<OsString>) -> Self {
        // The socket ends here, whether there was a terminal to send or not.
        let mut environment =
            Self(std::env::vars_os().filter(|(name, _)| name != pk::CONSOLE_FD).collect());
        if let Some(home) = home {
            environment.set("HOME", home);
        }
        environment
    }

    /// An image's, completed as Docker does.
    pub fn of_image(home: OsString, variables: Vec<String>, terminal: bool) -> Self {
        let mut environment = Self(Vec::new());
        environment.set("PATH", PATH);
        environment.set("HOME", home);
        environment.set("HOSTNAME", nix::unistd::gethostname().unwrap_or_default());
        if terminal || std::io::stdin().is_terminal() {
            environment.set("TERM", "xterm");
        }
        for variable in variables {
            let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
            environment.set(name, value);
        }
        environment
    }

    /// What `--env` asks for: a value, or the caller's.
    pub fn with(mut self, variables: &[String]) -> Result<Self> {
        for variable in variables {
            match variable.split_once('=') {
                Some(("", _)) => {
                    return Err(Error::usage(format!("--env {variable:?}"), "the name is empty"));
                }
                Some((name, value)) => self.set(name, value),
                None => match std::env::var_os(variable) {
                    Some(value) => self.set(variable, value),
                    None => self.0.retain(|(name, _)| name != OsStr::new(variable)),
                },
            }
        }
        Ok(self)
    }

    /// Where PROG is looked for.
    pub fn path(&self) -> Option<&OsStr> {
        self.0.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str())
    }

    pub fn into_variables(self) -> Vec<(OsString, OsString)> {
        self.0
    }

    fn set(&mut self, name: impl AsRef<OsStr>, value: impl Into<OsString>) {
        let (name, value) = (name.as_ref(), value.into());
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
        environment.0.iter().find(|(other, _)| other == name)?.1.to_str()
    }

    #[test]
    fn an_image_goes_before_what_docker_sets() {
        let variables = ["PATH=/bin", "A=1", "A=2=3", "EMPTY"].map(str::to_owned).to_vec();
        let environment = Environment::of_image("/root".into(), variables, false);
        assert_eq!(environment.path(), Some(OsStr::new("/bin")));
        let values = ["A", "EMPTY", "HOME"].map(|name| value(&environment, name));
        assert_eq!(values, [Some("2=3"), Some(""), Some("/root")]);
        let bare = Environment::of_image("/".into(), Vec::new(), false);
        assert_eq!(bare.path(), Some(OsStr::new(PATH)));
    }

    #[test]
    fn options_go_before_the_image() {
        let asked = ["A=b".to_owned(), "PK_TEST_NEVER_SET".to_owned()];
        let environment = Environment::of_image("/".into(), vec!["A=a".to_owned()], false);
        let environment = environment.with(&asked).unwrap();
        assert_eq!(value(&environment, "A"), Some("b"));
        assert_eq!(value(&environment, "PK_TEST_NEVER_SET"), None);
        assert!(environment.with(&["=x".to_owned()]).is_err());
    }
}
