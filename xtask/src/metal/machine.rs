//! One emulated machine: QEMU, whose flash is a file, and the far end of its UART.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use super::{factory, firmware::Board, release::Project};
use crate::error::{Error, Result};

/// Silence after which a machine counts as dead. Its own watchdog bites after some seconds of its own time.
const SILENCE: Duration = Duration::from_secs(180);
/// Bytes of the memory that holds the flash, and where in it the flash begins.
const MPS2: (u64, u64) = (16 << 20, 0);
const VIRT: (u64, u64) = (16 << 20, 8 << 20);

/// A running machine. It is killed when this is dropped.
pub(super) struct Machine {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

/// What the host answers a device with.
pub(super) struct Files<'a> {
    /// Payloads come from its repository.
    pub(super) project: &'a Project,
    /// The bundle of the job.
    pub(super) bundle: &'a [u8],
    /// What becomes of each payload on its way, and after how many requests the machine's power is cut.
    pub(super) tamper: Tamper,
    /// Requests for payload that are answered; the next one is not.
    pub(super) requests: usize,
}

/// What becomes of a payload on its way.
pub(super) type Tamper = fn(&mut [u8]);

/// What ended a wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The line that was waited for.
    Line(String),
    /// The request that was not to be answered.
    LastRequest,
}

/// Writes the flash of a board into the file that stands for its memory.
pub(super) fn program(board: Board, memory: &Path, flash: &[u8]) -> Result<()> {
    let (length, at) = if board == Board::Mps2 { MPS2 } else { VIRT };
    let failed = |source| Error::File { act: "write", path: memory.into(), source };
    let file = fs::File::create(memory).map_err(failed)?;
    file.set_len(length).map_err(failed)?;
    std::os::unix::fs::FileExt::write_all_at(&file, flash, at).map_err(failed)
}

/// Changes a bit in each of the last words that were written to slot B, as a cut may: 12 KiB of them, which is more than stands
/// between two resume records.
pub(super) fn spoil_slot_b(board: Board, memory: &Path) -> Result<()> {
    let at = if board == Board::Mps2 { MPS2.1 } else { VIRT.1 } + factory::SLOT as u64;
    let failed = |source| Error::File { act: "spoil", path: memory.into(), source };
    let file = fs::File::options().read(true).write(true).open(memory).map_err(failed)?;
    let mut slot = vec![0; factory::SLOT];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut slot, at).map_err(failed)?;
    let end = slot.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
    slot[end.saturating_sub(12 * 1024)..end].iter_mut().step_by(8).for_each(|byte| *byte ^= 4);
    std::os::unix::fs::FileExt::write_all_at(&file, &slot, at).map_err(failed)
}

impl Machine {
    /// Powers a machine on, with its bootloader, and the memory that holds its flash.
    pub(super) fn start(board: Board, boot: &Path, memory: &Path) -> Result<Machine> {
        let backend =
            |size: &str| format!("memory-backend-file,id=memory,size={size},mem-path={},share=on", memory.display());
        let mut qemu = match board {
            Board::Mps2 => {
                let mut qemu = Command::new("qemu-system-arm");
                qemu.args(["-M", "mps2-an385,memory-backend=memory", "-cpu", "cortex-m3", "-m", "16M"]);
                qemu
            }
            Board::Virt => {
                let mut qemu = Command::new("qemu-system-riscv32");
                qemu.args(["-M", "virt,memory-backend=memory", "-bios", "none", "-m", "16M"]);
                qemu
            }
        };
        qemu.args(["-object", &backend("16M"), "-display", "none", "-monitor", "none", "-serial", "stdio"]);
        // 16 ns an instruction: 62 million a second, as such a part does; so the watchdog's time is the program's own.
        qemu.args(["-icount", "shift=4", "-kernel"]).arg(boot);
        qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let start = |source| Error::Start { program: "QEMU".into(), source };
        let mut child = qemu.spawn().map_err(start)?;
        let input = child.stdin.take().ok_or_else(|| start(std::io::Error::other("no standard input")))?;
        let output = child.stdout.take().ok_or_else(|| start(std::io::Error::other("no standard output")))?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                if sender.send(String::from_utf8_lossy(&line).trim().to_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Ok(Machine { child, input, lines })
    }

    fn dead(&self, why: &str) -> Error {
        Error::Content { path: PathBuf::from("the emulated machine"), what: why.into() }
    }

    /// The next line that is no request, which are answered.
    pub(super) fn next(&mut self, files: &mut Files<'_>) -> Result<Seen> {
        loop {
            let line = match self.lines.recv_timeout(SILENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return Err(self.dead("it has fallen silent")),
                Err(RecvTimeoutError::Disconnected) => return Err(self.dead("QEMU has ended")),
            };
            let Some(request) = line.strip_prefix('?') else { return Ok(Seen::Line(line)) };
            if self.answer(request, files)? == Seen::LastRequest {
                return Ok(Seen::LastRequest);
            }
        }
    }

    fn answer(&mut self, request: &str, files: &mut Files<'_>) -> Result<Seen> {
        let words: Vec<&str> = request.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
        let (bytes, from, count) = match words[0] {
            "bundle" => (files.bundle.to_vec(), number(1), number(2)),
            "payload" => {
                if files.requests == 0 {
                    return Ok(Seen::LastRequest);
                }
                files.requests -= 1;
                let mut payload = files.project.payload(words.get(1).copied().unwrap_or_default())?;
                (files.tamper)(&mut payload);
                (payload, number(2), number(3))
            }
            _ => (Vec::new(), None, None),
        };
        let part = from.zip(count).and_then(|(from, count)| bytes.get(from..)?.get(..count));
        let part = part.filter(|part| (1..=256).contains(&part.len()));
        let part = part.ok_or_else(|| self.dead(&format!("it asks for what there is not: {request}")))?;
        let answer = [&[(part.len() - 1) as u8], part].concat();
        let failed = |source| Error::Start { program: "QEMU's UART".into(), source };
        self.input.write_all(&answer).and_then(|()| self.input.flush()).map_err(failed)?;
        Ok(Seen::Line(String::new()))
    }

    /// Sends a line.
    pub(super) fn send(&mut self, line: &str) -> Result<()> {
        let failed = |source| Error::Start { program: "QEMU's UART".into(), source };
        self.input.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.input.flush()).map_err(failed)
    }
}

impl Drop for Machine {
    /// Cuts the power.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
