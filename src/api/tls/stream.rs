//! A connection, encrypted or not, as the protocols above see it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::api::socket::Socket;

/// A connection's bytes, as they were before encryption.
#[derive(Debug)]
pub(in crate::api) enum Stream {
    Plain(Socket),
    /// The state of the encryption is large, and plain connections need none.
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// Waits for the client's first bytes, or its end. An encrypted connection has had some.
    pub(in crate::api) async fn spoken_to(&self) {
        if let Self::Plain(socket) = self {
            socket.spoken_to().await;
        }
    }

    /// A share of the connection below.
    pub(in crate::api) fn socket(&self) -> Socket {
        match self {
            Self::Plain(socket) => socket.clone(),
            Self::Tls(stream) => stream.get_ref().0.clone(),
        }
    }
}

/// Hands a call on to whichever stream there is.
macro_rules! hand_on {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        hand_on!(self, stream => stream.poll_read(context, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        hand_on!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        hand_on!(self, stream => stream.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        hand_on!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        hand_on!(self, stream => stream.poll_shutdown(context))
    }
}
