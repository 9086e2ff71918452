//! A real HTTP server on the loopback, that can be told to misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is served, by path.
#[derive(Clone, Default)]
pub(crate) struct Files(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Files {
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.0.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }
    pub(crate) fn remove(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }
    pub(crate) fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(path).cloned()
    }
    pub(crate) fn all(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

/// How a file is served.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Manner {
    #[default]
    Well,
    /// Bytes without end.
    Endless,
    /// One byte at a time, with a pause after each.
    Drip(Duration),
    /// The connection closes after that many bytes; the next request gets the rest, if it asks for it.
    CutAfter(usize),
    /// As before, but a request for a range gets the whole.
    CutAfterNoRanges(usize),
    /// Nothing comes.
    Silence,
    /// That status, and no file.
    Status(u16),
}

#[derive(Default)]
struct State {
    manners: BTreeMap<String, Manner>,
    requests: Vec<String>,
    /// The number of the request that gets no answer.
    hang_at: Option<usize>,
}

pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn start(files: &Files) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (files, shared) = (files.clone(), state.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, state) = (files.clone(), shared.clone());
                // A client that hangs up is no fault of the server's.
                thread::spawn(move || drop(answer(stream, &files, &state)));
            }
        });
        Server { url, state }
    }

    pub(crate) fn metadata(&self) -> String {
        format!("{}/metadata", self.url)
    }
    pub(crate) fn targets(&self) -> String {
        format!("{}/targets", self.url)
    }
    pub(crate) fn misbehave(&self, path: &str, manner: Manner) {
        self.state.lock().unwrap().manners.insert(path.to_owned(), manner);
    }
    pub(crate) fn hang_at(&self, request: Option<usize>) {
        self.state.lock().unwrap().hang_at = request;
    }
    /// What was asked for since the last call; a range is written behind the path.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
    pub(crate) fn requests_so_far(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }
}

fn answer(mut stream: TcpStream, files: &Files, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    let mut from = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(range) = header.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        }
    }
    let (manner, hang) = {
        let mut state = state.lock().unwrap();
        let number = state.requests.len();
        state.requests.push(if from > 0 { format!("{path} {from}-") } else { path.clone() });
        let manner = state.manners.get(&path).copied().unwrap_or_default();
        // A cut happens once.
        if matches!(manner, Manner::CutAfter(_)) {
            state.manners.remove(&path);
        }
        if let Manner::CutAfterNoRanges(_) = manner {
            state.manners.insert(path.clone(), Manner::CutAfterNoRanges(usize::MAX));
        }
        (manner, state.hang_at == Some(number))
    };
    if hang {
        thread::sleep(Duration::from_secs(60));
        return Ok(());
    }
    let Some(bytes) = files.file(&path) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let ranges = !matches!(manner, Manner::CutAfterNoRanges(_));
    let from = if ranges && from <= bytes.len() { from } else { 0 };
    let rest = &bytes[from..];
    let head = if from > 0 {
        let last = bytes.len() - 1;
        format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{last}/{}\r\nContent-Length: {}",
            bytes.len(),
            rest.len()
        )
    } else {
        format!("200 OK\r\nContent-Length: {}", rest.len())
    };
    match manner {
        Manner::Status(status) => {
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Manner::Silence => {
            thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Manner::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }
        Manner::Drip(pause) => {
            write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
            for byte in rest {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::sleep(pause);
            }
            Ok(())
        }
        Manner::CutAfter(count) | Manner::CutAfterNoRanges(count) => {
            write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&rest[..count.min(rest.len())])
        }
        Manner::Well => {
            write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
            stream.write_all(rest)
        }
    }
}
