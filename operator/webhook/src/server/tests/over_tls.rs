//! The door over real TLS and HTTP/2: answered in crowds, cut off when slow, closed to who has enough connections.

use std::net::SocketAddr;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::certificates::{Material, Plan};
use crate::connections::MOST_OF_ONE;

const HOST: &str = "webhook.test.svc";

/// A door that is open until the returned sender is dropped, and who can connect to it.
async fn open(protocol: &str, room: Room) -> (SocketAddr, TlsConnector, tokio::sync::oneshot::Sender<()>) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let material =
        Material::follow(None, Plan::Make, &[HOST.to_owned()], i64::try_from(now).unwrap()).unwrap();
    let serving = Arc::new(Serving::default());
    serving.exchange(&material.certificate, &material.key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        serve(listener, &serving, routes_within(room), until).await.unwrap();
    });
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(material.bundle().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    (address, TlsConnector::from(Arc::new(config)), stop)
}

async fn connect(address: SocketAddr, tls: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    tls.connect(ServerName::try_from(HOST).unwrap(), stream).await
}

async fn answer(stream: &mut TlsStream<TcpStream>, sent: &[u8]) -> String {
    stream.write_all(sent).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_review_is_answered_and_half_a_one_cut_off() {
    let (address, tls, _stop) = open("http/1.1", Room::default()).await;
    let body = review_with_a_filler_of(8);
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let whole = [head.as_bytes(), &body].concat();
    let mut stream = connect(address, &tls).await.unwrap();
    assert_eq!(answer(&mut stream, &whole).await, "HTTP/1.1 200");
    let mut stream = connect(address, &tls).await.unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(answer(&mut stream, &whole[..whole.len() - 1]).await, "HTTP/1.1 408");
    assert!(begun.elapsed() < BODY_WITHIN * 3);
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_gets_its_places_back() {
    let (address, tls, _stop) = open("http/1.1", Room::default()).await;
    let mut open = Vec::new();
    for _ in 0..MOST_OF_ONE {
        open.push(connect(address, &tls).await.unwrap());
    }
    assert!(connect(address, &tls).await.is_err());
    drop(open);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while connect(address, &tls).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "no place became free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_crowd_of_large_pods_on_one_connection_waits_for_room_and_gets_it() {
    let (address, tls, _stop) = open("h2", Room::of(100 << 10, 1 << 20)).await;
    let stream = TokioIo::new(connect(address, &tls).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let body = axum::body::Bytes::from(review_with_a_filler_of(40 << 10));
    // Ten times what there is room for.
    let answers: FuturesUnordered<_> = (0..25)
        .map(|_| {
            let request = Request::post(format!("https://{HOST}{PATH}")).body(Full::new(body.clone()));
            let mut sender = sender.clone();
            async move { sender.send_request(request.unwrap()).await.unwrap().status() }
        })
        .collect();
    let answers: Vec<_> = answers.collect().await;
    assert!(answers.iter().all(|code| *code == StatusCode::OK), "{answers:?}");
}
