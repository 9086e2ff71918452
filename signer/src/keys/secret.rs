//! Passphrases and PINs: from a descriptor, or asked on the terminal. Never from the command line, which every process
//! of the machine can read.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Most bytes read from the descriptor: some dozens of passphrases.
const MAX_SECRETS: u64 = 4_096;

/// Where secrets come from, and those that were given in this run: an act may open one key for several roles.
#[derive(Default)]
struct Secrets {
    descriptor: Option<u32>,
    /// What the descriptor held, a secret a line; `None` before it was read.
    lines: Option<Vec<Zeroizing<String>>>,
    /// How many of the lines were handed out.
    used: usize,
    given: Vec<(String, Zeroizing<String>)>,
}

static SECRETS: Mutex<Secrets> = Mutex::new(Secrets { descriptor: None, lines: None, used: 0, given: Vec::new() });

fn secrets() -> MutexGuard<'static, Secrets> {
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has secrets read from a descriptor of this process, one a line, in the order in which keys ask for them. The last line
/// serves all further keys.
pub fn read_from(descriptor: u32) {
    secrets().descriptor = Some(descriptor);
}

/// Wipes every secret that was given.
pub fn forget() {
    *secrets() = Secrets::default();
}

/// The secret that opens `place`, which `what` names to a person: "passphrase", "PIN".
pub(super) fn of(place: &str, what: &str) -> Result<Zeroizing<String>> {
    let mut secrets = secrets();
    if let Some((_, known)) = secrets.given.iter().find(|(known, _)| known == place) {
        return Ok(known.clone());
    }
    let secret = match secrets.descriptor {
        Some(descriptor) => secrets.next_line(descriptor, place, what)?,
        None => ask(&format!("{what} of {place}: "), place, what)?,
    };
    secrets.given.push((place.to_owned(), secret.clone()));
    Ok(secret)
}

/// A new secret for `place`: asked twice on a terminal, since nobody sees what is typed.
pub(super) fn new(place: &str) -> Result<Zeroizing<String>> {
    let secret = of(place, "new passphrase")?;
    if secret.is_empty() {
        return Err(Error::usage("the new passphrase is empty", "leave out --encrypt for a key without passphrase"));
    }
    if secrets().descriptor.is_none() && *ask(&format!("once more, passphrase of {place}: "), place, "")? != *secret {
        return Err(Error::usage("the two passphrases differ", "try again"));
    }
    Ok(secret)
}

impl Secrets {
    fn next_line(&mut self, descriptor: u32, place: &str, what: &str) -> Result<Zeroizing<String>> {
        if self.lines.is_none() {
            self.lines = Some(read_lines(descriptor)?);
        }
        let lines = self.lines.as_deref().unwrap_or_default();
        let line = lines.get(self.used).or(lines.last()).cloned();
        self.used += 1;
        line.ok_or_else(|| {
            Error::usage(
                format!("{place}: the {what} is asked for, and descriptor {descriptor} holds nothing"),
                "write one secret a line to it, as in `--passphrase-fd 3 3<FILE`",
            )
        })
    }
}

fn read_lines(descriptor: u32) -> Result<Vec<Zeroizing<String>>> {
    // The system's own name for it: taking a bare descriptor over is not a safe operation in Rust.
    let path = format!("/dev/fd/{descriptor}");
    let remedy = "open it for reading, as in `--passphrase-fd 3 3<FILE`";
    let fault = |error: std::io::Error| {
        Error::usage(format!("--passphrase-fd: cannot read descriptor {descriptor}: {error}"), remedy)
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRETS as usize + 1));
    File::open(&path).map_err(fault)?.take(MAX_SECRETS + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > MAX_SECRETS {
        return Err(Error::usage(format!("--passphrase-fd: more than {MAX_SECRETS} bytes"), remedy));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::usage("--passphrase-fd: this is no text", remedy))?;
    Ok(text.lines().map(|line| Zeroizing::new(line.to_owned())).collect())
}

/// Asks a person, where there is one.
fn ask(prompt: &str, place: &str, what: &str) -> Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage(
            format!("{place}: the {what} is asked for, and there is no terminal to ask on"),
            "give it through a descriptor: `--passphrase-fd 3 3<FILE`, or SEALIFT_PASSPHRASE_FD=3",
        ));
    }
    let typed = rpassword::prompt_password(prompt);
    typed.map(Zeroizing::new).map_err(|error| Error::failed(format!("cannot ask on the terminal: {error}"), ""))
}
