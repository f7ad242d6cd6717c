//! A thread's connections: which have room, which have something to send, and which broke.

use std::{io, net::SocketAddr, time::Instant};

use super::{
    super::{
        encryption::Connector,
        wire::{Answer, Message, Out, Ticket, Wire},
    },
    connection::Connection,
    events::{Events, Readiness},
};

/// Nanoseconds until a connection that could not be opened is tried again.
const RETRY: u64 = 100_000_000;

/// How the threads reach the server.
#[derive(Clone, Debug)]
pub(in crate::perf) struct Link<F> {
    pub(in crate::perf) address: SocketAddr,
    /// For connections that are encrypted.
    pub(in crate::perf) connector: Option<Connector>,
    /// Connections of all threads together, at most.
    pub(in crate::perf) connections: usize,
    /// Connections that are opened before the load begins.
    pub(in crate::perf) opened: usize,
    /// Makes a connection's protocol.
    pub(in crate::perf) wire: F,
}

/// Connections, known by their numbers.
pub(super) struct Pool<'a, W, F> {
    link: &'a Link<F>,
    most: usize,
    events: Events,
    connections: Vec<Option<Connection<W>>>,
    /// Connections that may have room; each at most once.
    roomy: Vec<usize>,
    /// Connections with something to send.
    dirty: Vec<usize>,
    /// When connections that broke are opened again.
    retry: Option<u64>,
}

impl<'a, W: Wire, F: Fn(&mut Out) -> W> Pool<'a, W, F> {
    /// A pool of at most so many connections, so many of which are opened now.
    pub(super) fn new(link: &'a Link<F>, most: usize, opened: usize) -> io::Result<Self> {
        let mut pool = Self {
            link,
            most,
            events: Events::new()?,
            connections: Vec::new(),
            roomy: Vec::new(),
            dirty: Vec::new(),
            retry: None,
        };
        while pool.connections.len() < opened.clamp(1, most) {
            pool.grow()?;
        }
        Ok(pool)
    }

    /// A connection with room; opens one if none has, and there may be more.
    pub(super) fn room(&mut self, now: u64) -> Option<usize> {
        while let Some(&number) = self.roomy.last() {
            if let Some(connection) = self.connection(number) {
                if connection.has_room() {
                    return Some(number);
                }
                connection.is_listed = false;
            }
            self.roomy.pop();
        }
        if self.connections.len() >= self.most || self.retry.is_some() {
            return None;
        }
        let grown = self.grow();
        if grown.is_err() {
            self.retry = Some(now + RETRY);
        }
        grown.ok()
    }

    /// Adds a request to what that connection has to send.
    pub(super) fn send(&mut self, number: usize, ticket: Ticket, message: &Message, keep: bool) {
        if let Some(connection) = self.connection(number) {
            connection.send(ticket, message, keep);
            self.dirty.push(number);
        }
    }

    /// Sends what can be sent; a connection that broke by it, and why.
    pub(super) fn flush(&mut self) -> Option<(usize, String)> {
        while let Some(number) = self.dirty.pop() {
            if let Some(Some(connection)) = self.connections.get_mut(number)
                && let Err(error) = connection.flush(&self.events, number)
            {
                return Some((number, error.to_string()));
            }
        }
        None
    }

    /// Waits until `deadline` for connections that can do something.
    pub(super) fn wait(&mut self, deadline: Instant, ready: &mut Vec<Readiness>) -> io::Result<()> {
        self.events.wait(deadline, ready)
    }

    /// Reads what a connection has; why it is of no more use, if it is not.
    pub(super) fn receive(
        &mut self,
        ready: Readiness,
        buffer: &mut [u8],
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        let number = ready.connection;
        let Some(connection) = self.connection(number) else {
            return Ok(());
        };
        if ready.readable {
            connection.receive(buffer, answers)?;
            self.list(number);
        }
        // What was received may have to be answered, or have made room for more.
        self.dirty.push(number);
        Ok(())
    }

    /// Gives up a connection; what it owes an answer for.
    pub(super) fn lose(&mut self, number: usize, now: u64) -> Vec<Ticket> {
        let slot = self.connections.get_mut(number);
        let Some(connection) = slot.and_then(Option::take) else {
            return Vec::new();
        };
        self.retry.get_or_insert(now);
        connection.unanswered()
    }

    /// When broken connections are to be opened again.
    pub(super) fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Opens broken connections again, if it is time.
    pub(super) fn mend(&mut self, now: u64) {
        if self.retry.is_none_or(|time| time > now) {
            return;
        }
        self.retry = None;
        for number in 0..self.connections.len() {
            if self.connection(number).is_some() {
                continue;
            }
            match self.open(number) {
                Ok(connection) => {
                    if let Some(slot) = self.connections.get_mut(number) {
                        *slot = Some(connection);
                    }
                    self.list(number);
                }
                Err(_) => self.retry = Some(now + RETRY),
            }
        }
    }

    fn connection(&mut self, number: usize) -> Option<&mut Connection<W>> {
        self.connections.get_mut(number)?.as_mut()
    }

    /// Opens another connection.
    fn grow(&mut self) -> io::Result<usize> {
        let number = self.connections.len();
        let connection = self.open(number)?;
        self.connections.push(Some(connection));
        self.list(number);
        Ok(number)
    }

    fn open(&self, number: usize) -> io::Result<Connection<W>> {
        let Link {
            address,
            connector,
            wire,
            ..
        } = self.link;
        Connection::open(*address, connector.as_ref(), &self.events, number, wire)
    }

    /// The connection may have room.
    fn list(&mut self, number: usize) {
        if let Some(connection) = self.connection(number)
            && !connection.is_listed
        {
            connection.is_listed = true;
            self.roomy.push(number);
        }
    }
}
