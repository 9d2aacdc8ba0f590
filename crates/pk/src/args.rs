//! Arguments: the operands are split off as bytes before argh, which works on `&str`, sees the
//! options. What takes a value is asked of argh's own description, so that there is one definition.

use crate::mode::Mode;
use crate::tool::{Description, FORMATS};
use crate::{Error, Result, Tool, completion, help, manual};
use argh::{ArgsInfo, FlagInfo, FlagInfoKind, FromArgs};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What the command line asks for.
pub enum Request<O> {
    /// Print a text (help, version) and end.
    Print(String),
    /// Do the work.
    Run { options: O, operands: Vec<OsString>, mode: Mode },
}

/// Splits the arguments, parses the options and reads the mode from options and environment.
pub fn parse<O: FromArgs + ArgsInfo>(
    tool: &Tool,
    arguments: impl Iterator<Item = OsString>,
) -> Result<Request<O>> {
    let info = O::get_args_info();
    let mut mode = Mode::from_environment(tool)?;
    let (options, operands) = match split(info.flags, arguments, &mut mode)? {
        Split::Words { options, operands } => (options, operands),
        Split::Version => return Ok(Request::Print(format!("{} {}\n", tool.name, tool.version))),
        Split::Help => return Ok(Request::Print(help::help(&Description::new(tool, &info)))),
        Split::Generate(format) => {
            return generate(&format, &Description::new(tool, &info)).map(Request::Print);
        }
    };
    let words: Vec<&str> = options.iter().map(String::as_str).collect();
    let options = O::from_args(&[tool.name], &words).map_err(|exit| complaint(&exit.output))?;
    Ok(Request::Run { options, operands, mode })
}

fn generate(format: &str, description: &Description) -> Result<String> {
    match format {
        "man" => Ok(manual::page(description)),
        "bash" => Ok(completion::bash(description)),
        "zsh" => Ok(completion::zsh(description)),
        "fish" => Ok(completion::fish(description)),
        _ => {
            let reason = format!("is not one of {}", FORMATS.replace('|', ", "));
            Err(Error::usage(format_args!("--generate {format:?}"), reason))
        }
    }
}

#[derive(Debug, PartialEq)]
enum Split {
    Help,
    Version,
    Generate(String),
    Words { options: Vec<String>, operands: Vec<OsString> },
}

fn split(
    flags: &[FlagInfo],
    mut arguments: impl Iterator<Item = OsString>,
    mode: &mut Mode,
) -> Result<Split> {
    let mut options = Vec::new();
    let mut operands = Vec::new();
    while let Some(argument) = arguments.next() {
        let bytes = argument.as_bytes();
        if bytes == b"--" {
            break;
        }
        if bytes == b"-" || !bytes.starts_with(b"-") {
            operands.push(argument);
            break;
        }
        let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) if bytes.starts_with(b"--") => (&bytes[..at], Some(&bytes[at + 1..])),
            _ => (bytes, None),
        };
        match (name, value) {
            (b"-h" | b"--help", None) => return Ok(Split::Help),
            (b"-V" | b"--version", None) => return Ok(Split::Version),
            (b"--explain", None) => mode.explain(),
            (b"--trace", None) => mode.trace()?,
            (b"--generate", value) => {
                return value_of("--generate", FORMATS, value, &mut arguments).map(Split::Generate);
            }
            _ => {
                let shown = String::from_utf8_lossy(name).into_owned();
                let flag = find(flags, &shown).ok_or_else(|| {
                    Error::usage(&shown, "no such option").hint("--help lists them".to_owned())
                })?;
                options.push(flag.long.to_owned());
                match (&flag.kind, value) {
                    (FlagInfoKind::Switch, None) => {}
                    (FlagInfoKind::Switch, Some(_)) => {
                        return Err(Error::usage(shown, "this option takes no value"));
                    }
                    (FlagInfoKind::Option { arg_name }, value) => {
                        options.push(value_of(&shown, arg_name, value, &mut arguments)?);
                    }
                }
            }
        }
    }
    operands.extend(arguments);
    Ok(Split::Words { options, operands })
}

/// The value of the option `shown`: what stands behind its `=`, or else the next argument.
fn value_of(
    shown: &str,
    arg_name: &str,
    value: Option<&[u8]>,
    arguments: &mut impl Iterator<Item = OsString>,
) -> Result<String> {
    let value = value
        .map(|bytes| OsString::from_vec(bytes.to_vec()))
        .or_else(|| arguments.next())
        .ok_or_else(|| Error::usage(shown, format!("needs {arg_name}")))?;
    let not_utf8 = |value| Error::usage(format!("{shown} {value:?}"), "not UTF-8");
    value.into_string().map_err(not_utf8)
}

fn find<'a>(flags: &'a [FlagInfo<'a>], name: &str) -> Option<&'a FlagInfo<'a>> {
    let short = name.strip_prefix('-').and_then(|rest| {
        let mut letters = rest.chars();
        letters.next().filter(|_| letters.next().is_none())
    });
    flags
        .iter()
        .find(|flag| flag.long == name || (short.is_some() && flag.short == short))
        .filter(|flag| flag.long != "--help")
}

/// argh's complaint in one line: `Error parsing option '--x' with value 'y': reason`.
fn complaint(output: &str) -> Error {
    let line = output.trim_end().replace('\n', " ");
    let parts = line
        .strip_prefix("Error parsing option '")
        .and_then(|rest| rest.split_once("' with value '"))
        .and_then(|(name, rest)| Some((name, rest.rsplit_once("': ")?)));
    match parts {
        Some((name, (value, reason))) => Error::usage(format_args!("{name} {value:?}"), reason),
        None => Error::usage("options", line),
    }
}

/// A word as a shell takes it: quoted where that is needed.
#[must_use]
pub fn quote(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:,=+@%".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    format!("'{}'", String::from_utf8_lossy(bytes).replace('\'', r"'\''"))
}

/// A size in bytes: `64M`, `1.5g`. The units are b, k, m, g and t, powers of 1024, as Docker's.
///
/// `None` if it is no size; one that is too large to be one is [`u128::MAX`] at the most.
#[must_use]
pub fn bytes(text: &str) -> Option<u128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    // More digits than bytes can have in a tebibyte would only overflow.
    let scale = 10_u128.pow(u32::try_from(part.len()).ok().filter(|&length| length <= 12)?);
    let (whole, part): (u128, u128) = (whole.parse().ok()?, part.parse().ok()?);
    let scaled = whole.checked_mul(scale).and_then(|whole| whole.checked_add(part));
    let scaled = scaled.and_then(|scaled| scaled.checked_mul(1 << shift));
    Some(scaled.map_or(u128::MAX, |scaled| scaled / scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const FLAGS: &[FlagInfo] = &[
        FlagInfo {
            kind: FlagInfoKind::Switch,
            optionality: argh::Optionality::Optional,
            long: "--pid",
            short: None,
            description: "",
            hidden: false,
        },
        FlagInfo {
            kind: FlagInfoKind::Option { arg_name: "SIZE" },
            optionality: argh::Optionality::Optional,
            long: "--memory",
            short: Some('m'),
            description: "",
            hidden: false,
        },
    ];

    fn words(line: &[&[u8]]) -> Result<Split> {
        let arguments = line.iter().map(|word| OsString::from_vec(word.to_vec()));
        split(FLAGS, arguments, &mut Mode::default())
    }

    fn parts(options: &[&str], operands: &[&[u8]]) -> Split {
        Split::Words {
            options: options.iter().map(|&word| word.to_owned()).collect(),
            operands: operands.iter().map(|word| OsString::from_vec(word.to_vec())).collect(),
        }
    }

    #[test]
    fn options_end_at_the_first_operand() {
        let table: &[(&[&[u8]], Split)] = &[
            (
                &[b"--pid", b"sh", b"-c", b"x", b"--help"],
                parts(&["--pid"], &[b"sh", b"-c", b"x", b"--help"]),
            ),
            (&[b"--memory", b"1M", b"sh"], parts(&["--memory", "1M"], &[b"sh"])),
            (&[b"--memory=1M", b"sh"], parts(&["--memory", "1M"], &[b"sh"])),
            (&[b"--memory=", b"sh"], parts(&["--memory", ""], &[b"sh"])),
            (&[b"-m", b"--pid", b"sh"], parts(&["--memory", "--pid"], &[b"sh"])),
            (&[b"--", b"--pid"], parts(&[], &[b"--pid"])),
            (&[b"-", b"--pid"], parts(&[], &[b"-", b"--pid"])),
            (&[b"sh", b"--", b"x"], parts(&[], &[b"sh", b"--", b"x"])),
            (&[b"caf\xe9", b"\xff"], parts(&[], &[b"caf\xe9", b"\xff"])),
            (&[], parts(&[], &[])),
            (&[b"--pid", b"-h", b"--nonsense"], Split::Help),
            (&[b"-V"], Split::Version),
            (&[b"--generate", b"man"], Split::Generate("man".to_owned())),
            (&[b"--generate=zsh", b"--nonsense"], Split::Generate("zsh".to_owned())),
        ];
        for (line, expected) in table {
            assert_eq!(&words(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn wrong_options_are_named() {
        let table: &[(&[&[u8]], &str)] = &[
            (&[b"--nonsense"], "--nonsense"),
            (&[b"-x"], "-x"),
            (&[b"-pid"], "-pid"),
            (&[b"--pid=yes"], "--pid"),
            (&[b"--memory"], "--memory"),
            (&[b"--generate"], "--generate"),
            (&[b"--memory=caf\xe9"], "--memory"),
        ];
        for (line, name) in table {
            let error = words(line).unwrap_err();
            assert!(format!("{error:?}").contains(name), "{error:?}");
            assert_eq!((error.status(Kind::Chain), error.status(Kind::Plain)), (125, 2));
        }
    }

    #[test]
    fn a_complaint_of_argh_becomes_one_line() {
        let error = complaint("Error parsing option '--memory' with value '12Q': no such unit\n");
        let text = format!("{error:?}");
        assert!(text.contains(r#"--memory \"12Q\""#) && text.contains("no such unit"), "{text}");
    }

    #[test]
    fn words_are_shown_as_a_shell_takes_them() {
        for (word, expected) in [("sh", "sh"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'")]
        {
            assert_eq!(quote(word), expected);
        }
    }
}
