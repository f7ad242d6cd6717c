//! A socket with its protocol.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    super::{
        encryption::{Connector, Socket},
        wire::{Answer, Message, Out, Ticket, Wire},
    },
    events::Events,
};

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Debug)]
pub(super) struct Connection<W> {
    socket: Socket,
    wire: W,
    out: Out,
    /// Whether it waits to be writable.
    blocked: bool,
    /// Whether it is among those that may have room.
    pub(super) is_listed: bool,
}

impl<W: Wire> Connection<W> {
    /// Connects, and has `events` know it by that number.
    pub(super) fn open(
        address: SocketAddr,
        connector: Option<&Connector>,
        events: &Events,
        number: usize,
        wire: impl FnOnce(&mut Out) -> W,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let socket = Socket::open(stream, connector)?;
        socket.stream().set_nonblocking(true)?;
        events.add(socket.stream(), number)?;
        let mut out = Out::default();
        Ok(Self {
            socket,
            wire: wire(&mut out),
            out,
            blocked: false,
            is_listed: false,
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.wire.has_room()
    }

    /// Adds a request to what is to be sent.
    pub(super) fn send(&mut self, ticket: Ticket, message: &Message, keep: bool) {
        self.wire.send(ticket, message, keep, &mut self.out);
    }

    /// Sends what can be sent.
    pub(super) fn flush(&mut self, events: &Events, number: usize) -> io::Result<()> {
        if self.out.is_empty() && !self.blocked && !self.socket.wants_write() {
            return Ok(());
        }
        let blocked = !self.socket.send(&mut self.out)?;
        if blocked != self.blocked {
            events.want_write(self.socket.stream(), number, blocked)?;
            self.blocked = blocked;
        }
        Ok(())
    }

    /// Reads what is there.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        loop {
            match self.socket.receive(buffer) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    let received = self.wire.receive(bytes, &mut self.out, answers);
                    received.map_err(|broken| broken.to_string())?;
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    pub(super) fn unanswered(&self) -> Vec<Ticket> {
        self.wire.unanswered()
    }
}
