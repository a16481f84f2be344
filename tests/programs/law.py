"""The law that networks of these tests are founded on."""

from __future__ import annotations

from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.programs.law_tables import AttestationLaw, CommitteeLaw, GovernanceLaw, Law, MeasurementLaw

LAW = Law(
    name="net",
    guest="00" * 32,
    governance=GovernanceLaw(
        keys=(Address.account(SigningKey(SecretBytes(b"g" * 32)).public).text,), threshold=1, delay_seconds=0
    ),
    committee=CommitteeLaw(seats=3, threshold=2),
    attestation=AttestationLaw(
        measurements=(
            MeasurementLaw(role="worker", measurement="01" * 32),
            MeasurementLaw(role="gatekeeper", measurement="02" * 32),
        )
    ),
)
