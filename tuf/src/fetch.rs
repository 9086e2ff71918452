//! Getting files: the port, local directories, and what holds for every fetcher: caps and a minimum rate.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::FetchError;
use crate::name;

/// Opens files of a repository. A port: [`crate::http::HttpFetcher`] speaks HTTP, [`DirFetcher`] reads a directory.
///
/// A fetcher has to end a read that brings nothing for long with an error; caps and the minimum rate are kept by the caller.
pub trait Fetcher {
    /// Opens the file at `url` from byte `from` on. A fetcher that cannot begin there begins at 0 and says so.
    fn open(&self, url: &str, from: u64) -> Result<Body, FetchError>;
}

impl<F: Fetcher + ?Sized> Fetcher for &F {
    fn open(&self, url: &str, from: u64) -> Result<Body, FetchError> {
        (**self).open(url, from)
    }
}

/// A file that comes.
pub struct Body {
    /// The offset at which it begins: the one asked for, or 0.
    pub from: u64,
    /// Its bytes.
    pub bytes: Box<dyn Read + Send>,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("from", &self.from).finish_non_exhaustive()
    }
}

/// How slowly a server may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Fewest bytes a second, on average since the request.
    pub least_rate: u64,
    /// How long a transfer may be slower.
    pub grace: Duration,
}

impl Default for Pace {
    /// 256 bytes a second, after 20 seconds: less than what the slowest modem in use brings.
    fn default() -> Self {
        Pace { least_rate: 256, grace: Duration::from_secs(20) }
    }
}

/// Reads a file from `from` on into `sink`, as long as it is at most `most` bytes in all and comes fast enough. `began` is
/// told where the server began. Returns the offset at which the file ended.
pub(crate) fn receive<E: From<FetchError>>(
    fetcher: &impl Fetcher,
    url: &str,
    from: u64,
    most: u64,
    pace: Pace,
    began: impl FnOnce(u64) -> Result<(), E>,
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let start = Instant::now();
    let mut body = fetcher.open(url, from)?;
    began(body.from)?;
    let mut offset = body.from;
    let mut received: u64 = 0;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match body.bytes.read(&mut buffer) {
            Ok(0) => return Ok(offset),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FetchError::Io(error.to_string()).into()),
        };
        offset += count as u64;
        received += count as u64;
        if offset > most {
            return Err(FetchError::TooLong(most).into());
        }
        sink(&buffer[..count])?;
        let elapsed = start.elapsed();
        if elapsed > pace.grace && u128::from(received) * 1_000 < u128::from(pace.least_rate) * elapsed.as_millis() {
            return Err(FetchError::TooSlow(pace.least_rate).into());
        }
    }
}

/// Reads a whole file of at most `most` bytes.
pub(crate) fn receive_all(fetcher: &impl Fetcher, url: &str, most: u64, pace: Pace) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    receive(
        fetcher,
        url,
        0,
        most,
        pace,
        |_| Ok(()),
        |piece| {
            bytes.extend_from_slice(piece);
            Ok::<_, FetchError>(())
        },
    )?;
    Ok(bytes)
}

/// Reads a repository that lies in a directory. URLs are paths below it.
#[derive(Clone, Debug)]
pub struct DirFetcher {
    dir: PathBuf,
}

impl DirFetcher {
    /// Reads below `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        DirFetcher { dir: dir.into() }
    }

    /// The file that a web server would give for the path: segments decoded. A role name with a `/` stays encoded, since it
    /// is one name.
    fn path(&self, url: &str) -> Option<PathBuf> {
        let mut path = self.dir.clone();
        for segment in url.split('/') {
            let decoded =
                name::decoded(segment).filter(|decoded| name::is_safe_path(decoded) && !decoded.contains('/'));
            let segment = decoded.unwrap_or_else(|| segment.to_owned());
            if !name::is_safe_path(&segment) {
                return None;
            }
            path.push(segment);
        }
        Some(path)
    }
}

impl Fetcher for DirFetcher {
    fn open(&self, url: &str, from: u64) -> Result<Body, FetchError> {
        let path = self.path(url).ok_or(FetchError::NotFound)?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FetchError::NotFound,
            _ => FetchError::Io(format!("{}: {error}", path.display())),
        };
        let mut file = File::open(&path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(FetchError::NotFound);
        }
        let from = if from <= meta.len() { from } else { 0 };
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        Ok(Body { from, bytes: Box::new(file) })
    }
}
