// Rules that cardinality, type and pattern cannot say. The classes of the program hold the same.

Invariant: trb-identity
Description: "The id is a UUID in lower case, and an identifier of system urn:ietf:rfc:3986 repeats it: whoever sends the same result again changes nothing."
Expression: "id.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') and identifier.where(system = 'urn:ietf:rfc:3986' and value = 'urn:uuid:' + %resource.id).exists()"
Severity: #error

Invariant: trb-id
Description: "The id is a UUID in lower case."
Expression: "id.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')"
Severity: #error

Invariant: trb-effective
Description: "When the scan was made is given, or marked unknown by the extension data-absent-reason."
Expression: "effective.exists()"
Severity: #error

Invariant: trb-screening-outcome
Description: "The value is reported or refused."
Expression: "value.coding.first().system = 'https://trabecula.example/fhir/CodeSystem/ct-screening-status' and (value.coding.first().code = 'reported' or value.coding.first().code = 'refused')"
Severity: #error

Invariant: trb-device-status
Description: "A release is active, inactive or entered in error."
Expression: "status = 'active' or status = 'inactive' or status = 'entered-in-error'"
Severity: #error

Invariant: trb-device-card
Description: "A model card is a DocumentReference."
Expression: "extension.where(url = 'http://hl7.org/fhir/uv/aitransparency/StructureDefinition/aitransparency.modelCardDescription').value.all(reference.contains('DocumentReference/') or type = 'DocumentReference')"
Severity: #error

Invariant: trb-report-risk
Description: "The risk that belongs to the report is a RiskAssessment."
Expression: "extension.where(url = 'http://hl7.org/fhir/StructureDefinition/diagnosticReport-risk').value.all(reference.contains('RiskAssessment/'))"
Severity: #error

Invariant: trb-by-device
Description: "It is the device that asks."
Expression: "requester.reference.contains('Device/') or requester.type = 'Device'"
Severity: #error

Invariant: trb-task-focus
Description: "The task is about a ServiceRequest."
Expression: "focus.reference.contains('ServiceRequest/') or focus.type = 'ServiceRequest'"
Severity: #error

Invariant: trb-audit-patient
Description: "A person among the entities is a patient."
Expression: "entity.where(type.code = '1').what.all(reference.contains('Patient/') or type = 'Patient')"
Severity: #error

Invariant: trb-ai-label
Description: "What the device asserts is labelled AIAST, Artificial Intelligence asserted."
Expression: "meta.security.where(system = 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue' and code = 'AIAST').exists()"
Severity: #error

Invariant: trb-result-status
Description: "A result is preliminary until a person has signed it; then final, amended or corrected. What proved wrong is entered-in-error."
Expression: "status = 'preliminary' or status = 'final' or status = 'amended' or status = 'corrected' or status = 'entered-in-error'"
Severity: #error

Invariant: trb-patient
Description: "The patient is known by reference or by identifier, or is marked unknown by the extension data-absent-reason; never an empty reference."
Expression: "(reference.exists() or identifier.value.exists() or extension.where(url = 'http://hl7.org/fhir/StructureDefinition/data-absent-reason').exists()) and (type = 'Patient' or reference.contains('Patient/'))"
Severity: #error

Invariant: trb-imaging
Description: "The category is imaging."
Expression: "category.coding.where(system = 'http://terminology.hl7.org/CodeSystem/observation-category' and code = 'imaging').exists()"
Severity: #error

Invariant: trb-value
Description: "Either a value or a reason for its absence: no silent gap, and no reason beside a value."
Expression: "value.exists() xor dataAbsentReason.exists()"
Severity: #error

Invariant: trb-component
Description: "Each component has either a value or a reason for its absence."
Expression: "component.all(value.exists() xor dataAbsentReason.exists())"
Severity: #error

Invariant: trb-component-metric
Description: "Each component's code begins with the project's metric."
Expression: "component.all(code.coding.first().system = 'https://trabecula.example/fhir/CodeSystem/ct-bone-metrics')"
Severity: #error

Invariant: trb-component-unit
Description: "A quantity in a component is in UCUM."
Expression: "component.where(value.is(Quantity)).all(value.system = 'http://unitsofmeasure.org' and value.code.exists())"
Severity: #error

Invariant: trb-explained
Description: "A density never stands alone: it comes with the method of its calibration, its scale and its uncertainty."
Expression: "value.empty() or (method.coding.exists() and component.code.coding.where(code = 'density-scale').exists() and component.code.coding.where(code = 'vbmd-standard-uncertainty').exists())"
Severity: #error

Invariant: trb-not-a-t-score
Description: "The reference range says that the value is not a DXA T-score."
Expression: "referenceRange.text.where($this.contains('Not a DXA T-score')).exists()"
Severity: #error

Invariant: trb-interpretation
Description: "Never N, for CT cannot rule low density out, and never LL, HH or AA, which set off alarms."
Expression: "interpretation.coding.where(system = 'http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation' and (code = 'N' or code = 'LL' or code = 'HH' or code = 'AA')).empty()"
Severity: #error

Invariant: trb-derived
Description: "A mean is derived from the Observations of its vertebrae."
Expression: "value.empty() or derivedFrom.exists()"
Severity: #error

Invariant: trb-refusal
Description: "Refused exactly when a component has a coded refusal."
Expression: "value.coding.where(code = 'refused').exists() = component.where(code.coding.where(code = 'refusal').exists()).value.coding.where(system = 'https://trabecula.example/fhir/CodeSystem/ct-screening-refusal').exists()"
Severity: #error

Invariant: trb-agreement
Description: "A component says how the second reader stands to the measurement."
Expression: "component.code.coding.where(code = 'second-reader-agreement').exists()"
Severity: #error

Invariant: trb-device-type
Description: "The type is Artificial-Intelligence and nothing else."
Expression: "type.coding.count() = 1 and type.coding.where(system = 'http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIdeviceTypeCS' and code = 'Artificial-Intelligence').exists()"
Severity: #error

Invariant: trb-device-version
Description: "The version of the software, and the SHA-256 of every model."
Expression: "version.where(type.text = 'software').exists() and version.where(type.text.startsWith('model ')).all(value.matches('sha256:[0-9a-f]{64}'))"
Severity: #error

Invariant: trb-card
Description: "The type is AIModelCard, in Markdown."
Expression: "type.coding.where(code = 'AIModelCard').exists() and category.coding.where(code = 'AIModelCardMarkdownFormat').exists() and content.attachment.all(contentType = 'text/markdown' and (data.exists() or url.exists()))"
Severity: #error

Invariant: trb-study-uid
Description: "An identifier of system urn:dicom:uid holds the Study Instance UID."
Expression: "identifier.where(system = 'urn:dicom:uid' and value.startsWith('urn:oid:')).exists()"
Severity: #error

Invariant: trb-modality
Description: "The modality is CT."
Expression: "modality.where(system = 'http://dicom.nema.org/resources/ontology/DCM' and code = 'CT').exists()"
Severity: #error

Invariant: trb-author
Description: "An agent of type author and role Artificial-Intelligence is the device."
Expression: "agent.where(type.coding.where(code = 'author').exists() and role.coding.where(code = 'Artificial-Intelligence').exists() and (who.type = 'Device' or who.reference.contains('Device/'))).exists()"
Severity: #error

Invariant: trb-verifier
Description: "A verifier is a practitioner."
Expression: "agent.where(type.coding.where(code = 'verifier').exists()).all(who.type = 'Practitioner' or who.type = 'PractitionerRole' or who.reference.contains('Practitioner'))"
Severity: #error

Invariant: trb-reason
Description: "The reason is AIAST."
Expression: "reason.coding.where(system = 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue' and code = 'AIAST').exists()"
Severity: #error

Invariant: trb-outcome
Description: "The outcome is a range of ct-bone-category."
Expression: "prediction.outcome.coding.first().system = 'https://trabecula.example/fhir/CodeSystem/ct-bone-category'"
Severity: #error

Invariant: trb-risk
Description: "No probability in figures, and no word that reassures."
Expression: "prediction.probability.empty() and prediction.qualitativeRisk.coding.all(code = 'low' or code = 'moderate' or code = 'high')"
Severity: #error

Invariant: trb-radiology
Description: "The category Radiology is among the categories."
Expression: "category.coding.where(system = 'http://loinc.org' and code = 'LP29684-5').exists()"
Severity: #error

Invariant: trb-conclusion-code
Description: "A coded conclusion is a range of ct-bone-category."
Expression: "conclusionCode.all(coding.first().system = 'https://trabecula.example/fhir/CodeSystem/ct-bone-category')"
Severity: #error

Invariant: trb-presented-form
Description: "A page is HTML or PDF; one that travels inside has size and hash."
Expression: "presentedForm.all((contentType.startsWith('text/html') or contentType.startsWith('application/pdf')) and (data.exists() or url.exists()) and (data.empty() or (size.exists() and hash.exists())))"
Severity: #error

Invariant: trb-signed
Description: "What is final, amended or corrected has a practitioner as its interpreter."
Expression: "(status = 'final' or status = 'amended' or status = 'corrected') implies resultsInterpreter.exists()"
Severity: #error

Invariant: trb-proposal
Description: "A proposal is draft; it may be revoked or completed, never active."
Expression: "status = 'draft' or status = 'revoked' or status = 'completed' or status = 'entered-in-error'"
Severity: #error

Invariant: trb-order-category
Description: "The category is imaging."
Expression: "category.coding.where(system = 'http://snomed.info/sct' and code = '363679005').exists()"
Severity: #error

Invariant: trb-issue
Description: "The issue is severe-range-suspected or vcf-suspected, of severity high or moderate."
Expression: "(code.coding.first().code = 'severe-range-suspected' or code.coding.first().code = 'vcf-suspected') and (severity = 'high' or severity = 'moderate') and (status = 'preliminary' or status = 'final' or status = 'mitigated' or status = 'entered-in-error')"
Severity: #error

Invariant: trb-task-state
Description: "Status and business status go together."
Expression: "status = 'entered-in-error' or (businessStatus.coding.first().code = 'proposed' and status = 'requested') or (businessStatus.coding.first().code = 'contacted' and status = 'received') or (businessStatus.coding.first().code = 'booked' and status = 'in-progress') or (businessStatus.coding.first().code = 'done' and status = 'completed') or (businessStatus.coding.first().code = 'declined' and status = 'rejected') or (businessStatus.coding.first().code = 'closed' and status = 'cancelled')"
Severity: #error

Invariant: trb-task-state-system
Description: "The business status is of ct-bone-programme."
Expression: "businessStatus.coding.first().system = 'https://trabecula.example/fhir/CodeSystem/ct-bone-programme'"
Severity: #error

Invariant: trb-task-reason
Description: "Declined and closed say why."
Expression: "(businessStatus.coding.first().code = 'declined' or businessStatus.coding.first().code = 'closed') implies statusReason.text.exists()"
Severity: #error

Invariant: trb-task-output
Description: "DXA done links its result."
Expression: "businessStatus.coding.first().code = 'done' implies output.value.exists()"
Severity: #error

Invariant: trb-audit-action
Description: "One RESTful interaction, and the action that goes with it."
Expression: "subtype.where(system = 'http://hl7.org/fhir/restful-interaction').count() = 1 and (((subtype.code contains 'read' or subtype.code contains 'vread' or subtype.code contains 'history-instance') and action = 'R') or ((subtype.code contains 'search-type' or subtype.code contains 'search-system') and action = 'E') or (subtype.code contains 'operation' and (action = 'E' or action = 'C' or action = 'U' or action = 'R')) or (subtype.code contains 'create' and action = 'C') or (subtype.code contains 'update' and action = 'U') or (subtype.code contains 'delete' and action = 'D'))"
Severity: #error

Invariant: trb-audit-agent
Description: "One source and one destination, each with its network address or a mark that it is not known; exactly one agent is the requestor."
Expression: "agent.where(type.coding.where(code = '110153').exists() and network.exists()).count() = 1 and agent.where(type.coding.where(code = '110152').exists() and network.exists()).count() = 1 and agent.where(requestor = true).count() = 1"
Severity: #error

Invariant: trb-audit-entity
Description: "One entity is the resource, the query or the type; a person is in the role Patient."
Expression: "entity.where(type.code = '2').count() = 1 and entity.where(type.code = '1').all(role.code = '1' and what.exists())"
Severity: #error
