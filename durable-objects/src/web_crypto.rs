//! What the platform's WebCrypto does for us: random bytes, RSA keys, authenticated encryption.

use js_sys::{Array, ArrayBuffer, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::{Error, Result};
use zeroize::Zeroizing;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn fill_with_random(bytes: &Uint8Array);
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = generateKey, catch)]
    fn generate_key(
        algorithm: &JsValue,
        is_extractable: bool,
        usages: &JsValue,
    ) -> core::result::Result<Promise, JsValue>;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = exportKey, catch)]
    fn export_key(format: &str, key: &JsValue) -> core::result::Result<Promise, JsValue>;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = importKey, catch)]
    fn import_key(
        format: &str,
        key: &JsValue,
        algorithm: &JsValue,
        is_extractable: bool,
        usages: &JsValue,
    ) -> core::result::Result<Promise, JsValue>;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = encrypt, catch)]
    fn subtle_encrypt(algorithm: &JsValue, key: &JsValue, data: &JsValue) -> core::result::Result<Promise, JsValue>;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = decrypt, catch)]
    fn subtle_decrypt(algorithm: &JsValue, key: &JsValue, data: &JsValue) -> core::result::Result<Promise, JsValue>;
}

/// Bytes of an initialisation vector of AES-GCM (NIST SP 800-38D section 8.2): drawn at random for each encryption, of
/// which there is one for each key.
const VECTOR_BYTES: usize = 12;

/// A pair of keys, in the encodings that WebCrypto has for them.
pub struct KeyPair {
    /// SubjectPublicKeyInfo, DER.
    pub public: Vec<u8>,
    /// PKCS #8, DER.
    pub private: Zeroizing<Vec<u8>>,
}

/// Random bytes.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = Uint8Array::new_with_length(u32::try_from(N).unwrap_or_default());
    fill_with_random(&filled);
    filled.copy_to(&mut bytes);
    bytes
}

/// An RSA key of 2048 bits, which is what AWS gives to devices.
///
/// # Errors
/// When the platform has no WebCrypto as it should.
pub async fn rsa_key_pair() -> Result<KeyPair> {
    let algorithm = Object::new();
    set(&algorithm, "name", &"RSASSA-PKCS1-v1_5".into())?;
    set(&algorithm, "modulusLength", &2_048.into())?;
    set(&algorithm, "publicExponent", &Uint8Array::from([1_u8, 0, 1].as_slice()))?;
    set(&algorithm, "hash", &"SHA-256".into())?;
    let pair = JsFuture::from(generate_key(&algorithm, true, &usages(&["sign", "verify"]))?).await?;
    let export = |half: &'static str, format: &'static str| {
        let pair = pair.clone();
        async move {
            let key = Reflect::get(&pair, &half.into())?;
            bytes_of(JsFuture::from(export_key(format, &key)?).await?)
        }
    };
    Ok(KeyPair {
        public: export("publicKey", "spki").await?,
        private: Zeroizing::new(export("privateKey", "pkcs8").await?),
    })
}

/// Encrypts with AES-256-GCM: the initialisation vector, then what came out.
///
/// # Errors
/// When the platform has no WebCrypto as it should.
pub async fn encrypt(key: &[u8; 32], plain: &[u8]) -> Result<Vec<u8>> {
    let vector: [u8; VECTOR_BYTES] = random_bytes();
    let key = aes_key(key, "encrypt").await?;
    let data = Uint8Array::from(plain);
    let encrypted = JsFuture::from(subtle_encrypt(&aes_gcm(&vector)?, &key, &data)?).await?;
    let mut sealed = vector.to_vec();
    sealed.extend(bytes_of(encrypted)?);
    Ok(sealed)
}

/// Decrypts what [`encrypt`] gave.
///
/// # Errors
/// When it was encrypted with another key, or changed.
pub async fn decrypt(key: &[u8; 32], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let Some((vector, encrypted)) = sealed.split_at_checked(VECTOR_BYTES) else {
        return Err(Error::RustError("too short to have been encrypted".to_owned()));
    };
    let key = aes_key(key, "decrypt").await?;
    let data = Uint8Array::from(encrypted);
    let plain = JsFuture::from(subtle_decrypt(&aes_gcm(vector)?, &key, &data)?).await?;
    Ok(Zeroizing::new(bytes_of(plain)?))
}

async fn aes_key(key: &[u8; 32], usage: &str) -> Result<JsValue> {
    let raw = Uint8Array::from(key.as_slice());
    Ok(JsFuture::from(import_key("raw", &raw, &"AES-GCM".into(), false, &usages(&[usage]))?).await?)
}

fn aes_gcm(vector: &[u8]) -> Result<JsValue> {
    let algorithm = Object::new();
    set(&algorithm, "name", &"AES-GCM".into())?;
    set(&algorithm, "iv", &Uint8Array::from(vector))?;
    Ok(algorithm.into())
}

fn usages(names: &[&str]) -> JsValue {
    names.iter().map(|name| JsValue::from_str(name)).collect::<Array>().into()
}

fn set(object: &Object, name: &str, value: &JsValue) -> Result<()> {
    Reflect::set(object, &name.into(), value)?;
    Ok(())
}

fn bytes_of(value: JsValue) -> Result<Vec<u8>> {
    let buffer: ArrayBuffer = value.dyn_into()?;
    Ok(Uint8Array::new(&buffer).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    async fn what_is_encrypted_is_decrypted_with_its_own_key_only() {
        let sealed = encrypt(&[7; 32], b"a private key").await.unwrap();
        assert_eq!(decrypt(&[7; 32], &sealed).await.unwrap().as_slice(), b"a private key");
        assert!(decrypt(&[8; 32], &sealed).await.is_err());
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(decrypt(&[7; 32], &changed).await.is_err());
        assert!(decrypt(&[7; 32], &sealed[..5]).await.is_err());
        assert_ne!(encrypt(&[7; 32], b"a private key").await.unwrap(), sealed, "each has a vector of its own");
    }

    #[wasm_bindgen_test]
    async fn an_rsa_key_is_given_in_the_encodings_of_aws() {
        let pair = rsa_key_pair().await.unwrap();
        let public = x509::PublicKey::from_spki_der(&pair.public).unwrap();
        assert!(public.to_pem().starts_with("-----BEGIN PUBLIC KEY-----"));
        let private = x509::rsa_private_key_pem(&pair.private).unwrap();
        assert!(private.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    }
}
