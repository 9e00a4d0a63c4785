RuleSet: AssertedByDevice
* meta.security 1..*
* identifier 1..*
* obeys trb-identity and trb-ai-label

RuleSet: ScreeningResult
* insert AssertedByDevice
* obeys trb-result-status and trb-effective and trb-imaging and trb-component and trb-component-metric and trb-component-unit and trb-interpretation
* partOf only Reference(ScreenedImagingStudy)
* category 1..*
* subject 1..1
* subject only Reference(Patient)
* subject obeys trb-patient
* effective[x] only dateTime
* effective[x] ^comment = "When the scan was made; without a time zone in the images, the date alone. Where it is not known, the extension data-absent-reason says so."
* issued 1..1
* device 1..1
* device only Reference(AiDevice)

RuleSet: Density
* obeys trb-value and trb-explained and trb-not-a-t-score
* value[x] only Quantity
* valueQuantity = 'mg/cm3'
* method from CtCalibrationMethods (extensible)
* referenceRange 1..*
* component.code from CtBoneMetrics (extensible)

Profile: TrabecularBmdObservation
Parent: Observation
Id: trabecular-bmd-observation
Title: "Trabecular density of one vertebra"
Description: "Trabecular volumetric bone mineral density of one vertebral body, with attenuation, region, heights and shape as components. A vertebra that was left out says why."
* insert ScreeningResult
* code = $metrics#vbmd-trabecular
* insert Density
* bodySite 1..1
* bodySite from VertebraBodySites (extensible)
* component 1..*

Profile: MeanTrabecularBmdObservation
Parent: Observation
Id: mean-trabecular-bmd-observation
Title: "Mean trabecular density"
Description: "Mean trabecular density of the vertebrae that count. A refused study has it too, with the reason for its absence."
* insert ScreeningResult
* code = $metrics#vbmd-trabecular-mean
* insert Density
* obeys trb-derived
* derivedFrom only Reference(TrabecularBmdObservation)

Profile: LumbarEquivalentBmdObservation
Parent: Observation
Id: lumbar-equivalent-bmd-observation
Title: "Lumbar-equivalent trabecular density"
Description: "The density that was compared with the cut-offs, with the range as its interpretation."
* insert ScreeningResult
* code = $metrics#vbmd-lumbar-equivalent
* insert Density
* derivedFrom 1..*
* derivedFrom only Reference(MeanTrabecularBmdObservation)

Profile: BodyCompositionObservation
Parent: Observation
Id: body-composition-observation
Title: "Muscle and fat in one axial slice"
Description: "Areas, attenuation and ratios at one vertebral level. What could not be measured says why."
* insert ScreeningResult
* code = $metrics#body-composition
* value[x] 0..0
* dataAbsentReason 0..0
* bodySite 1..1
* bodySite from VertebraBodySites (extensible)
* component 1..*
* component.code from CtBoneMetrics (extensible)

Profile: SecondReaderObservation
Parent: Observation
Id: second-reader-observation
Title: "Score of a second reader"
Description: "Answer of an end-to-end model beside the measurement, never instead of it. One that was not asked says why."
* insert ScreeningResult
* obeys trb-value and trb-agreement
* code = $metrics#second-reader-score
* value[x] only Quantity
* valueQuantity = '1'
* method 1..1
* method.text 1..1
* component 1..*

Profile: QualityObservation
Parent: Observation
Id: quality-observation
Title: "Outcome and quality of the screening"
Description: "Whether the study was reported or refused, with every refusal and every warning as a code."
* insert ScreeningResult
* obeys trb-screening-outcome and trb-refusal
* code = $metrics#screening-quality
* value[x] 1..1
* value[x] only CodeableConcept
* valueCodeableConcept from CtScreeningOutcomes (required)
