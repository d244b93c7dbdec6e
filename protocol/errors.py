"""Every error of the project, one tree. A message says what is wrong and what to do about it.

    ProtocolError (ValueError)
    ├── EncodingError       bytes or text that are not what they claim to be
    ├── SignatureError      a signature that does not verify, or a key that must not sign
    ├── QuorumError         no certificate: too few, too different or inconsistent observations
    ├── GuardError          the sign guard refuses: this round was signed, or its disk is not ours
    │   └── SignerError     the process that holds the keys does not answer, or answers another
    ├── PriceError          no valid price from the venues at this moment
    ├── RejectError         an operation that a rule of the pool refuses (protocol.pool.reject)
    ├── TermsError          contract terms that cannot be honoured
    ├── DisputeError        a move that the game does not allow
    ├── ScriptError         a script, address or transaction that cannot be built
    ├── ChainError          the Bitcoin node cannot do what was asked
    │   ├── ConsensusError  a block or transaction that Bitcoin's consensus refuses
    │   └── PolicyError     a transaction that consensus allows and the mempool does not
    └── ConfigError         a configuration with a missing, unknown or wrong field

The machine imports nothing of ours; its root is ``riscv_vm.image.ImageError``, also a ValueError.
"""


class ProtocolError(ValueError):
    """Root of all errors that a caller may catch and show to a person as one line."""


class EncodingError(ProtocolError):
    """Bytes or text that are not the message they claim to be."""


class SignatureError(ProtocolError):
    """A signature that does not verify, or a key that must not sign."""


class QuorumError(ProtocolError):
    """No certificate can be made of these observations or signatures."""


class GuardError(ProtocolError):
    """The sign guard refuses to sign."""


class SignerError(GuardError):
    """The signer does not answer, or answers another client now: nothing is signed without it."""


class PriceError(ProtocolError):
    """The venues give no valid price at this moment."""


class TermsError(ProtocolError):
    """Contract terms that cannot be honoured."""


class DisputeError(ProtocolError):
    """A move that the game does not allow."""


class ScriptError(ProtocolError):
    """A script, address or transaction that cannot be built."""


class ChainError(ProtocolError):
    """The Bitcoin node cannot do what was asked."""


class ConsensusError(ChainError):
    """Bitcoin's consensus refuses a block or transaction; the message is the node's reason."""


class PolicyError(ChainError):
    """The mempool refuses a transaction that a block may hold."""


class ConfigError(ProtocolError):
    """A configuration with a missing, unknown or wrong field; the message names the field."""
