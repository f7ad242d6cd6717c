//! Waiting for connections and for a time: epoll, and a timer that is finer than its milliseconds.

use std::{
    io,
    net::TcpStream,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
        timerfd_settime,
    },
};

/// Events that are taken at once.
const AT_ONCE: usize = 256;
/// The timer's number among the connections'.
const TIMER: u64 = u64::MAX;
/// It is not worth going to sleep for less.
const SHORT: Duration = Duration::from_micros(15);

/// What a connection can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    pub(super) connection: usize,
    /// Otherwise it can be written to.
    pub(super) readable: bool,
}

/// Connections that are waited for.
pub(super) struct Events {
    epoll: OwnedFd,
    timer: OwnedFd,
    buffer: Vec<Event>,
}

impl Events {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self {
            epoll,
            timer,
            buffer: Vec::with_capacity(AT_ONCE),
        })
    }

    /// Waits for that connection to be readable from now on.
    pub(super) fn add(&self, stream: &TcpStream, connection: usize) -> io::Result<()> {
        let data = EventData::new_u64(connection as u64);
        Ok(epoll::add(
            &self.epoll,
            stream.as_fd(),
            data,
            EventFlags::IN,
        )?)
    }

    /// Waits for it to be writable as well, or no longer.
    pub(super) fn want_write(
        &self,
        stream: &TcpStream,
        connection: usize,
        write: bool,
    ) -> io::Result<()> {
        let data = EventData::new_u64(connection as u64);
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, write);
        Ok(epoll::modify(&self.epoll, stream.as_fd(), data, flags)?)
    }

    /// Fills `ready` with the connections that can do something; waits until `deadline` for one.
    pub(super) fn wait(&mut self, deadline: Instant, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let zero = Timespec::default();
        let timeout = if left < SHORT {
            Some(&zero)
        } else {
            self.set_timer(left)?;
            None
        };
        self.buffer.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.buffer), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.clear();
        for event in &self.buffer {
            let (number, flags) = (event.data.u64(), event.flags);
            if number == TIMER {
                continue;
            }
            let gone = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            ready.push(Readiness {
                connection: usize::try_from(number).unwrap_or(usize::MAX),
                readable: gone || flags.contains(EventFlags::IN),
            });
        }
        Ok(())
    }

    /// The timer goes off once, then; what it was set to before is forgotten.
    fn set_timer(&self, left: Duration) -> io::Result<()> {
        let time = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn a_connection_is_ready_when_it_can_be_read_and_a_deadline_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut events = Events::new().unwrap();
        events.add(&client, 7).unwrap();
        let mut ready = Vec::new();
        let deadline = Instant::now() + Duration::from_millis(2);
        events.wait(deadline, &mut ready).unwrap();
        assert!(ready.is_empty() && Instant::now() >= deadline);
        server.write_all(b"x").unwrap();
        events
            .wait(Instant::now() + Duration::from_secs(30), &mut ready)
            .unwrap();
        assert!(matches!(
            ready[..],
            [Readiness {
                connection: 7,
                readable: true
            }]
        ));
        client.read_exact(&mut [0]).unwrap();
        events.want_write(&client, 7, true).unwrap();
        events.wait(Instant::now(), &mut ready).unwrap();
        assert!(matches!(
            ready[..],
            [Readiness {
                connection: 7,
                readable: false
            }]
        ));
        events.want_write(&client, 7, false).unwrap();
        events.wait(Instant::now(), &mut ready).unwrap();
        assert!(ready.is_empty());
    }
}
