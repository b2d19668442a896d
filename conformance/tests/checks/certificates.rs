//! Certificates: of an authority that is trusted and of one that is not, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use vc5_conformance::lab::command::output;

/// The name of the service.
pub(crate) const NAME: &str = "www.example";

/// A directory of certificates and keys.
#[derive(Debug)]
pub(crate) struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    pub(crate) fn new(dir: &Path) -> Self {
        let dir = dir.join("certificates");
        std::fs::create_dir(&dir).unwrap();
        let made = Self { dir };
        for authority in ["authority", "stranger"] {
            made.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={authority} \
                 -addext basicConstraints=critical,CA:TRUE -keyout {authority}.key -out {authority}.pem"
            ));
        }
        made.issue("good", NAME, "authority", 2);
        made.issue("expired", NAME, "authority", 0);
        let issued = Instant::now();
        made.issue("misnamed", "other.example", "authority", 2);
        made.issue("unknown", NAME, "stranger", 2);
        made.issue("client", "client.example", "authority", 2);
        // The last second of the one that expires is still one in which it is in force.
        std::thread::sleep(Duration::from_secs(1).saturating_sub(issued.elapsed()));
        made
    }

    /// One that is in force for so many days; for none it has expired a second later.
    fn issue(&self, file: &str, name: &str, authority: &str, days: u8) {
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {file}.key -out {file}.csr \
             -addext subjectAltName=DNS:{name} -addext basicConstraints=critical,CA:FALSE"
        ));
        self.openssl(&format!(
            "x509 -req -in {file}.csr -CA {authority}.pem -CAkey {authority}.key -days {days} -copy_extensions copy \
             -out {file}.pem"
        ));
    }

    /// A file's path.
    pub(crate) fn path(&self, file: &str) -> String {
        self.dir.join(file).display().to_string()
    }

    /// A file's content.
    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.dir.join(file)).unwrap()
    }

    /// The SHA-256 of a certificate, by openssl.
    pub(crate) fn fingerprint(&self, file: &str) -> [u8; 32] {
        let text = self.openssl(&format!("x509 -in {file}.pem -noout -fingerprint -sha256"));
        let (_, hex) = text.trim().split_once('=').unwrap();
        let octets: Vec<u8> =
            hex.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
        octets.try_into().unwrap()
    }

    fn openssl(&self, words: &str) -> String {
        output(Command::new("openssl").current_dir(&self.dir).args(words.split_whitespace()))
            .unwrap()
    }
}
