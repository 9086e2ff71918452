//! Downloading targets: capped at the signed length, resumed where they broke off, and in place only when whole and right.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::Updater;
use crate::error::{Error, FetchError};
use crate::fetch::{Fetcher, receive};
use crate::name;
use crate::role::{HashCheck, TargetFile};
use crate::store::{STATE_DIR, Store, sync_dir_of};

/// How often a transfer that brought something and broke off is taken up again.
const RESUMPTIONS: u32 = 5;

impl<F: Fetcher, S: Store> Updater<F, S> {
    /// Looks a target up and downloads it into `dir`, unless it is there already. Returns its file.
    pub fn download(&mut self, path: &str, dir: &Path) -> Result<PathBuf, Error> {
        let target = self.target(path)?.ok_or_else(|| Error::NoSuchTarget(path.to_owned()))?;
        let file = dir.join(name::file_name(path));
        if is_target(&file, &target).map_err(|error| Error::storage("read", &file, error))? {
            return Ok(file);
        }
        let url = self.target_url(path, &target)?;
        let state = dir.join(STATE_DIR);
        fs::create_dir_all(&state).map_err(|error| Error::storage("make", &state, error))?;
        // Named by what it will be, so that nothing is continued with the bytes of another version.
        let name = target.hashes.name().unwrap_or_default();
        let mut partial = Partial::open(state.join(format!("{name}.partial")))?;
        self.transfer(path, &url, &target, &mut partial)?;
        partial.finish(&file)?;
        // Whoever else downloads may still need it.
        let _ = fs::remove_dir(&state);
        Ok(file)
    }

    /// Reads a target through, and keeps nothing of it.
    pub(crate) fn check_target(&self, path: &str, target: &TargetFile) -> Result<(), Error> {
        let url = self.target_url(path, target)?;
        let mut check = HashCheck::new(&target.hashes);
        let begin = |from| if from == 0 { Ok(()) } else { Err(FetchError::Io("it began elsewhere".to_owned())) };
        let sink = |piece: &[u8]| {
            check.update(piece);
            Ok::<_, FetchError>(())
        };
        let end = receive(&self.fetcher, &url, 0, target.length, self.config.pace, begin, sink);
        let end = end.map_err(|source| Error::Fetch { url: url.clone(), source })?;
        if end != target.length {
            return Err(Error::Fetch { url, source: FetchError::TooShort { got: end, wanted: target.length } });
        }
        if check.matches() { Ok(()) } else { Err(wrong_hash(path)) }
    }

    /// `BASE/dir/HASH.file` where snapshots are consistent (section 6.2.2), else `BASE/dir/file`.
    fn target_url(&self, path: &str, target: &TargetFile) -> Result<String, Error> {
        if !name::is_safe_path(path) {
            return Err(Error::UnsafeTargetPath(path.to_owned()));
        }
        // Without a hash that is known nothing could be checked: then nothing is asked for.
        let hash = target.hashes.name().ok_or(Error::WrongTarget {
            path: path.to_owned(),
            what: "its metadata gives no hash that this client knows (sha256, sha512)",
        })?;
        let base = self.locations.targets.as_deref().unwrap_or_default();
        let path = name::url_path(path);
        Ok(match path.rsplit_once('/') {
            _ if !(self.root().consistent_snapshot() && self.config.hash_prefixed_targets) => format!("{base}{path}"),
            Some((dir, file)) => format!("{base}{dir}/{hash}.{file}"),
            None => format!("{base}{hash}.{path}"),
        })
    }

    fn transfer(&self, path: &str, url: &str, target: &TargetFile, partial: &mut Partial) -> Result<(), Error> {
        let mut from_the_start = partial.length()? == 0;
        let mut resumptions = 0;
        loop {
            let at = partial.length()?;
            let error = match self.attempt(url, target, partial) {
                Ok(true) => return Ok(()),
                // What an earlier run left may be what is wrong: once more without it.
                Ok(false) if !from_the_start => {
                    partial.truncate()?;
                    from_the_start = true;
                    continue;
                }
                Ok(false) => {
                    partial.remove()?;
                    return Err(wrong_hash(path));
                }
                Err(Error::Fetch { url, source }) => (url, source),
                Err(error) => return Err(error),
            };
            let (url, source) = error;
            match source {
                // Nothing after what is there: what is there cannot be right.
                FetchError::Status(416) if !from_the_start => {
                    partial.truncate()?;
                    from_the_start = true;
                }
                source if source.may_resume() && resumptions < RESUMPTIONS && partial.length()? > at => {
                    resumptions += 1
                }
                FetchError::TooLong(_) => {
                    partial.remove()?;
                    return Err(Error::Fetch { url, source });
                }
                source => return Err(Error::Fetch { url, source }),
            }
        }
    }

    /// One request from where the partial file ends. `false` when the whole has arrived and is not the target.
    fn attempt(&self, url: &str, target: &TargetFile, partial: &mut Partial) -> Result<bool, Error> {
        if partial.length()? > target.length {
            partial.truncate()?;
        }
        let from = partial.length()?;
        if from < target.length || from == 0 {
            let partial = std::cell::RefCell::new(&mut *partial);
            let begin = |began: u64| {
                let again = began == 0 && from > 0;
                if again { partial.borrow_mut().truncate().map_err(Broken::Disk) } else { Ok(()) }
            };
            let sink = |piece: &[u8]| partial.borrow_mut().append(piece).map_err(Broken::Disk);
            let end = receive(&self.fetcher, url, from, target.length, self.config.pace, begin, sink);
            let end = end.map_err(|error| error.at(url))?;
            if end < target.length {
                let source = FetchError::TooShort { got: end, wanted: target.length };
                return Err(Error::Fetch { url: url.to_owned(), source });
            }
        }
        partial.is(target)
    }
}

/// A failure of the transfer or of the disk below it.
enum Broken {
    Fetch(FetchError),
    Disk(Error),
}

impl From<FetchError> for Broken {
    fn from(error: FetchError) -> Self {
        Broken::Fetch(error)
    }
}

impl Broken {
    fn at(self, url: &str) -> Error {
        match self {
            Broken::Fetch(source) => Error::Fetch { url: url.to_owned(), source },
            Broken::Disk(error) => error,
        }
    }
}

/// A target that is not whole yet. It outlives the process: nothing in it is trusted before all of it was hashed.
struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let file = options.open(&path).map_err(|error| Error::storage("open", &path, error))?;
        file.try_lock().map_err(|error| {
            let error = match error {
                TryLockError::WouldBlock => io::Error::other("another process is downloading it"),
                TryLockError::Error(error) => error,
            };
            Error::storage("lock", &path, error)
        })?;
        Ok(Partial { file, path })
    }

    fn failed(&self, act: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |error| Error::storage(act, path, error)
    }

    fn length(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().map_err(self.failed("read"))?.len())
    }

    fn truncate(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(self.failed("write"))
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.file.write_all(piece).map_err(self.failed("write"))
    }

    fn remove(&mut self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(self.failed("remove"))
    }

    /// Whether the file, as it is on disk, is the target.
    fn is(&mut self, target: &TargetFile) -> Result<bool, Error> {
        self.file.seek(SeekFrom::Start(0)).map_err(self.failed("read"))?;
        matches(&mut self.file, target).map_err(self.failed("read"))
    }

    /// Puts the file in its place, durably.
    fn finish(self, place: &Path) -> Result<(), Error> {
        self.file.sync_all().map_err(self.failed("write"))?;
        let moved = fs::rename(&self.path, place).and_then(|()| sync_dir_of(place));
        moved.map_err(|error| Error::storage("write", place, error))
    }
}

fn is_target(file: &Path, target: &TargetFile) -> io::Result<bool> {
    match File::open(file) {
        Ok(mut file) => matches(&mut file, target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file has the target's length and hashes.
fn matches(file: &mut File, target: &TargetFile) -> io::Result<bool> {
    if file.metadata()?.len() != target.length {
        return Ok(false);
    }
    let mut check = HashCheck::new(&target.hashes);
    let mut buffer = vec![0; 64 * 1024];
    let mut left = target.length;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(left == 0 && check.matches()),
            count => {
                left = left.saturating_sub(count as u64);
                check.update(&buffer[..count]);
            }
        }
    }
}

fn wrong_hash(path: &str) -> Error {
    Error::WrongTarget { path: path.to_owned(), what: "what the server gave does not have the signed hash" }
}
