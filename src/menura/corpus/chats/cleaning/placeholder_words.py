"""What messengers write in place of a message, in the words of many languages; facts, one table a kind.

Phrases are compared without case, without a full stop at the end and without angle brackets around them; those in
``BRACKETED`` are words that people say as well, and count in angle brackets only. In templates ``{}`` is a name or
a number, ``{…}`` anything or nothing, ``“{}”`` anything in quotation marks.
"""

MEDIA = """
media omitted|image omitted|video omitted|audio omitted|gif omitted|document omitted|video note omitted
video message omitted|view once voice message omitted|photo omitted|voice message omitted|file omitted
medien ausgeschlossen|medien weggelassen|medien fehlen|bild weggelassen|video weggelassen|audio weggelassen
gif weggelassen|dokument weggelassen|videonachricht weggelassen|multimedia omitido|archivo omitido|archivos omitidos
imagen omitida|video omitido|vídeo omitido|audio omitido|gif omitido|documento omitido|videomensaje omitido
médias omis|media omis|fichier omis|fichiers omis|médias absents|médias absente|média manquante|image absente
vidéo absente|audio omis|audio absent|gif retiré|gif absent|document manquant|document omis|document absent
media omessi|media omesso|immagine omessa|video omesso|audio omesso|gif esclusa|gif omessa|gif omesso
documento omesso|media mancante|mídia oculta|mídia omitida|midia oculta|arquivo de mídia oculto
ficheiro não revelado|imagem ocultada|imagem omitida|vídeo ocultado|áudio ocultado|áudio omitido|gif omitida
gif ocultado|documento ocultado|imagem não revelada|vídeo não revelado|ficheiro de áudio não revelado
gif não revelada|documento não revelado|media weggelaten|afbeelding weggelaten|video weggelaten|audio weggelaten
gif weggelaten|document weggelaten|медиа отсутствует|файл пропущен|изображение отсутствует|видео отсутствует
аудиофайл отсутствует|аудио отсутствует|gif отсутствует|документ отсутствует|изображение не добавлено
видео не добавлено|аудио не добавлено|медіа пропущено|зображення відсутнє|відео відсутнє|аудіо відсутнє
gif-анімацію пропущено|документ пропущено|medya dahil edilmedi|medya atlanmış|medya çıkarıldı|görüntü dahil edilmedi
video dahil edilmedi|ses dahil edilmedi|gif dahil edilmedi|belge dahil edilmedi|görüntülü not dahil edilmedi
تم استبعاد الوسائط|لم يتم إدراج الصورة|لم يتم إدراج الفيديو|لم يتم إدراج الفيديوهات|لم يتم إدراج المقاطع الصوتية
لم يتم إدراج صورة gif|لم يتم إدراج المستند|تم استبعاد الصورة|تم استبعاد الفيديو|تم استبعاد الصوت|الصورة غير مشمولة
الفيديو غير مشمول|ملفات مفقودة|मीडिया के बिना|फ़ोटो हटाई गई|वीडियो छोड़ा गया|ऑडियो हटाई गयी|gif छोड़ा गया
डॉक्यूमेंट छोड़ा गया|मीडिया शामिल नहीं है|मीडिया वगळले|इमेज वगळली|व्हिडीओ वगळला|ऑडिओ वगळला|media tidak disertakan
gambar tidak disertakan|video tidak disertakan|audio tidak disertakan|gif tidak disertakan|dokumen tidak disertakan
media disingkirkan|media dikecualikan|imej tidak dimasukkan|video tidak dimasukkan|audio tidak dimasukkan
gif tidak dimasukkan|dokumen tidak dimasukkan|メディアは含まれていません|画像は含まれていません
ビデオは含まれていません|動画は含まれていません|音声は含まれていません|gifは含まれていません
ドキュメントは含まれていません|画像は省略されました|動画は省略されました|音声は省略されました|忽略多媒體檔
忽略多媒體檔案|省略多媒體檔案|省略多媒体文件|媒体省略|媒体已省略|圖片已略去|圖像已省略|圖片已省略|照片已忽略
图片已省略|图像已省略|已忽略图片|影片已略去|影片已省略|视频已忽略|视频已省略|音訊已略去|音訊已省略|音频已忽略
音频已省略|gif 已略去|gif 圖片已被省略|gif 动态图已被忽略|gif已省略|文件已略去|文件已忽略|文档已省略|文件已省略
미디어 파일을 생략한 대화내용|미디어 파일 제외됨|미디어 생략됨|이미지 생략됨|사진 생략됨|비디오 생략됨|동영상 생략됨
오디오 생략됨|gif 생략됨|문서 생략됨|pominięto multimedia|multimedia pominięte|pliki pominięto|obraz pominięty
wideo pominięte|audio pominięte|plik gif pominięty|dokument pominięty|bỏ qua media|bỏ qua tệp phương tiện
đã bỏ qua hình ảnh|đã bỏ video|bỏ qua tệp âm thanh|đã bỏ qua ảnh gif|đã bỏ qua tài liệu|מדיה הושמטה|המדיה הושמטה
המדיה לא נכללה|המדיה הוסרה|התמונה הושמטה|סרטון הווידאו הושמט|קטע קול הושמט|gif הושמט|מסמך הושמט|εξαίρεση πολυμέσων
εικόνα παραλείφθηκε|βίντεο παραλείφθηκε|ήχος παραλείφθηκε|έγγραφο παραλείφθηκε|رسانه حذف شد|تصویر حذف شد
ویدیو حذف شد|صدا حذف شد|سند حذف شد|میڈیا چھوڑ دیا گیا|মিডিয়া বাদ দেওয়া হয়েছে|media har utelämnats|media utelämnat
bild utesluten|video utesluten|ljud utelslutet|dokument uteslutet|mediefil udeladt|medier udeladt|billede udeladt
video udeladt|lyd udeladt|media utelatt|bilde ikke inkludert|video utelatt|lyd utelatt|media jätetty pois
videota ei sisällytetä|äänitiedostoa ei sisällytetä|média vynechána|média vynechány|obrázek vynechán|video vynecháno
médiá vynechané|obrázok vynechaný|conținut media omis|imagine omisă|clip video omis|hiányzó médiafájl|média kihagyva
kép küldése sikertelen|mitjans omesos|fitxers multimèdia omesos|imatge omesa|vídeo omès|àudio omès|document omès
สื่อถูกลบ|ไฟล์สื่อถูกลบ|slika izostavljena|video izostavljen|medijski zapis izostavljen|medij izpuščen
praleistas medijos turinys|media imerukwa|media weggelaat|media çıxarılmışdır|fayl oʻtkazib yuborildi
fayl o‘tkazib yuborildi|not included, change data exporting settings to download|you received a view once message
you received a view once photo|you received a view once video|you sent an attachment|[photo]|[photos]|[video]
[voice message]|[file]|[album]|[image]|[写真]|[画像]|[動画]|[ボイスメッセージ]|[ファイル]|[アルバム]|[照片]|[圖片]
[影片]|[語音訊息]|[檔案]|[图片]|[语音]|[视频]|[文件]|[사진]|[동영상]|[음성메시지]|[파일]|[รูป]|[วิดีโอ]
"""

STICKER = """
sticker omitted|sticker weggelassen|sticker omitido|sticker omis|sticker absent|sticker omesso|sticker non incluso
adesivo omesso|figurinha omitida|sticker não revelado|sticker weggelaten|стикер не добавлен|стикер отсутствует
наклейку не додано|çıkartma dahil edilmedi|تم حذف الملصقات|تم استبعاد الملصق|स्टिकर छोड़ा गया|स्टिकर वगळले
stiker tidak disertakan|pelekat tidak disertakan|スタンプは含まれていません|スタンプは省略されました|貼圖已略去
貼圖已忽略|貼圖已省略|贴图已省略|表情已省略|스티커 제외됨|스티커 생략됨|đã bỏ sticker|pominięto naklejkę|סטיקר הושמט
αυτοκόλλητο παραλήφθηκε|sticker utesluten|klistermærke udeladt|klistremerke utelatt|tarraa ei sisällytetty
nálepka vynechána|nálepka vynechaná|matrica kihagyva|naljepnica izostavljena|adhesiu omès|استیکر حذف شد|[sticker]
[スタンプ]|[貼圖]|[表情]|[动画表情]|[스티커]|[สติกเกอร์]
"""

CONTACT = """
contact card omitted|contact omitted|kontaktkarte ausgelassen|kontaktkarte weggelassen|tarjeta de contacto omitida
fiche contact manquante|fiche contact absente|scheda contatto omessa|cartão do contato omitido|contacto não revelado
visitekaartje weggelaten|contactkaart weggelaten|карточка контакта отсутствует|картка контакту відсутня
kişi kartı dahil edilmedi|لم يتم إدراج بطاقة جهة اتصال|تم استبعاد جهة الاتصال|कॉन्टैक्ट कार्ड छोड़ा गया
kartu kontak tidak disertakan|kad kenalan tidak dimasukkan|連絡先カードを省略|連絡先カードは含まれていません
聯絡人卡片已略去|聯絡人卡片已省略|联系人卡片已忽略|名片已省略|연락처 카드 생략됨|bỏ qua thẻ liên lạc
pominięta wizytówka kontaktu|כרטיס איש קשר הושמט|η κάρτα επαφής παραλήφθηκε|kontaktkort uteslutet
kontaktkort udeladt|kontaktkort sløyfet|vizitka vynechána|karta kontaktu vynechaná|névjegykártya kihagyva
posjetnica izostavljena|[contact]|[連絡先]|[聯絡資訊]|[名片]|[연락처]
"""

DELETED = """
this message was deleted|you deleted this message|this message has been deleted|you deleted this message as admin
this message was deleted by an admin|you unsent a message|diese nachricht wurde gelöscht
du hast diese nachricht gelöscht|du hast die nachricht zurückgezogen|se eliminó este mensaje
este mensaje fue eliminado|este mensaje ha sido eliminado|eliminaste este mensaje|has eliminado este mensaje
anulaste el envío de un mensaje|ce message a été supprimé|vous avez supprimé ce message|tu as supprimé ce message
questo messaggio è stato eliminato|hai eliminato questo messaggio|esta mensagem foi apagada
esta mensagem foi apagada pelo remetente|apagou esta mensagem|você apagou esta mensagem|apagaste esta mensagem
dit bericht is verwijderd|dit bericht werd verwijderd|u hebt dit bericht verwijderd|je hebt dit bericht verwijderd
данное сообщение удалено|это сообщение удалено|вы удалили это сообщение|вы удалили данное сообщение
це повідомлення було видалено|ви видалили це повідомлення|bu mesaj silindi|bu mesajı sildiniz|bu mesajı sildin
تم حذف هذه الرسالة|لقد حذفت هذه الرسالة|لقد حذَفت هذه الرسالة|أنت حذفت هذه الرسالة|حذفت هذه الرسالة
لقد حذفت أنت هذه الرسالة|यह मैसेज डिलीट कर दिया गया है|यह मैसेज हटा दिया गया|यह संदेश मिटाया गया
आपने यह मैसेज डिलीट किया|आपने यह संदेश मिटाया|हा मेसेज हटवण्यात आला|pesan ini dihapus|pesan ini telah dihapus
anda menghapus pesan ini|anda telah menghapus pesan ini|mesej ini telah dipadam|anda telah memadamkan mesej ini
このメッセージは削除されました|このメッセージを削除しました|メッセージの送信を取り消しました|此訊息已刪除
這則訊息已被刪除|您已刪除此訊息|您已收回訊息|此消息已删除|这条消息已被删除|信息已删除|您已删除这条消息
你撤回了一条消息|이 메시지는 삭제되었습니다|삭제된 메시지입니다|삭제한 메시지입니다|이 메시지를 삭제했습니다
메시지가 삭제되었습니다|ta wiadomość została usunięta|usunięto tę wiadomość|tin nhắn này đã bị xóa
tin nhắn này đã bị xoá|bạn đã xóa tin nhắn này|bạn đã xoá tin nhắn này|הודעה זו נמחקה|מחקת הודעה זו
מחקת את ההודעה הזו|αυτό το μήνυμα διαγράφηκε|διαγράψατε αυτό το μήνυμα|این پیام حذف شد|این پیام حذف شده است
شما این پیام را حذف کردید|det här meddelandet raderades|detta meddelande raderades|du raderade det här meddelandet
du raderade detta meddelande|denne besked blev slettet|denne besked er blevet slettet|du slettede denne besked
denne meldingen ble slettet|du slettet denne meldingen|tämä viesti poistettiin|poistit tämän viestin
tato zpráva byla smazána|tato zpráva byla odstraněna|tuto zprávu jste smazal/a|táto správa bola odstránená
acest mesaj a fost șters|ați șters acest mesaj|ez az üzenet törlésre került|törölted ezt az üzenetet
ova poruka je izbrisana|aquest missatge s'ha suprimit|has suprimit aquest missatge|ข้อความนี้ถูกลบแล้ว
ข้อความนี้ได้ถูกลบ|คุณได้ลบข้อความนี้|ujumbe huu ulifutwa
"""

CALL = """
missed voice call|missed video call|missed group voice call|missed group video call|missed audio call
verpasster sprachanruf|verpasster videoanruf|verpasster gruppen-sprachanruf|verpasster gruppen-videoanruf
llamada perdida|llamada de voz perdida|videollamada perdida|llamada de voz grupal perdida
videollamada grupal perdida|appel vocal manqué|appel vidéo manqué|appel vocal de groupe manqué|chiamata vocale persa
videochiamata persa|chiamata vocale di gruppo persa|chamada de voz perdida|ligação de voz perdida
videochamada perdida|chamada de vídeo perdida|ligação de vídeo perdida|gemist spraakgesprek|gemist videogesprek
gemiste spraakoproep|gemiste video-oproep|gemiste oproep|пропущенный аудиозвонок|пропущенный видеозвонок
пропущенный групповой аудиозвонок|пропущений аудіодзвінок|пропущений відеодзвінок|cevapsız sesli arama
cevapsız görüntülü arama|cevapsız sesli grup araması|مكالمة صوتية فائتة|مكالمة فيديو فائتة|वॉइस कॉल मिस हुई
मिस्ड वॉइस कॉल|मिस्ड वीडियो कॉल|वीडियो कॉल मिस हुई|मिस्ड व्हॉइस कॉल|मिस्ड व्हिडिओ कॉल|panggilan suara tak terjawab
panggilan video tak terjawab|panggilan suara terlepas|panggilan video terlepas|音声通話不在着信|ビデオ通話不在着信
未接語音通話|未接視像通話|未接視訊通話|未接语音通话|未接视频通话|부재중 음성 통화|부재중 영상통화|부재중 통화
nieodebrane połączenie głosowe|nieodebrane poł. głosowe|nieodebrane poł. wideo|cuộc gọi thoại nhỡ|cuộc gọi nhỡ video
שיחה קולית שלא נענתה|שיחת וידאו שלא נענתה|αναπάντητη φωνητική κλήση|αναπάντητη βιντεοκλήση|تماس صوتی پاسخ داده نشده
تماس تصویری پاسخ داده نشده|missat röstsamtal|missat videosamtal|ubesvaret taleopkald|ubesvaret videoopkald
tapt taleanrop|tapt videoanrop|vastaamaton äänipuhelu|vastaamaton videopuhelu|zmeškaný hlasový hovor
zmeškaný videohovor|apel vocal nepreluat|apel video nepreluat|nem fogadott hanghívás|nem fogadott videohívás
propušteni glasovni poziv|propušteni videopoziv|trucada de veu perduda
"""

# A call that took place: these words, a comma or full stop, then how long it was or what came of it.
CALL_NAMES = """
voice call|video call|group voice call|group video call|silenced voice call|silenced video call|audio call
sprachanruf|videoanruf|gruppen-sprachanruf|gruppen-videoanruf|llamada de voz|videollamada|llamada grupal|appel vocal
appel vidéo|appel vocal de groupe|chiamata vocale|videochiamata|chamada de voz|chamada de vídeo|ligação de voz
ligação de vídeo|videochamada|spraakoproep|video-oproep|spraakgesprek|videogesprek|аудиозвонок|видеозвонок
групповой аудиозвонок|sesli arama|görüntülü arama|مكالمة صوتية|مكالمة فيديو|वॉइस कॉल|वीडियो कॉल|panggilan suara
panggilan video|音声通話|ビデオ通話|語音通話|視訊通話|视频通话|语音通话|음성 통화|영상 통화
"""
CALL_UNITS = """
s|sec|secs|second|seconds|min|mins|minute|minutes|h|hr|hrs|hour|hours|sek|sek.|min.|std|std.|stunde|stunden|sekunden
minuten|seg|seg.|segundos|minutos|hora|horas|secondes|heure|heures|secondi|minuti|ora|ore|seconden|uur|сек|сек.|мин
мин.|ч|час|часа|sn|sn.|dk|dk.|sa|sa.|saat|dakika|ثانية|ثوان|دقيقة|دقائق|ساعة|ساعات|सेकंड|मिनट|घंटा|घंटे|dtk|detik
mnt|menit|jam|秒|分|時間|分鐘|分钟|小時|小时|秒钟|초|분|시간
"""
CALL_ENDS = """
no answer|answered on other device|declined|focus mode|tap to call back|call back|keine antwort|sin respuesta
no contestada|sans réponse|pas de réponse|nessuna risposta|sem resposta|não atendida|geen antwoord|нет ответа
yanıt yok|cevap yok|لا يوجد رد|कोई जवाब नहीं|tidak dijawab|応答なし|無人接聽|无人接听|未接听|응답 없음|부재중
tippe, um zurückzurufen|toca para devolver la llamada|appuyez pour rappeler|tocca per richiamare|toque para retornar
"""

LIVE_LOCATION = """
live location shared|live-standort wird geteilt|live-standort geteilt|ubicación en tiempo real compartida
localisation en direct partagée|posizione attuale condivisa|posizione in tempo reale condivisa
localização atual compartilhada|localização em tempo real compartilhada|está a partilhar a sua localização
live locatie gedeeld|live-locatie gedeeld|геоданные отправлены|геодані надіслано|mevcut konum paylaşıldı
canlı konum paylaşıldı|تمت مشاركة الموقع المباشر|लाइव स्थान साझा किया गया|लाइव लोकेशन शेयर की गई
lokasi terkini dibagikan|lokasi terkini dikongsi|ライブロケーション共有|ライブロケーションを共有しました
實時位置已分享|即時位置已分享|共享实时位置|实时位置已共享|공유한 실시간 위치|실시간 위치 공유됨
vị trí hiện thời được chia sẻ|udostępniona transmisja położenia|משתף מיקום בשידור חי|live placering delt
liveposition delad|posisjon i sanntid delt|live-sijainti jaettu|location omitted|konum dahil edilmedi|[location]
[位置情報]|[位置資訊]|[位置]|[위치]
"""

POLL = """
poll|umfrage|encuesta|sondage|sondaggio|enquete|sondagem|votação|peiling|опрос|anket|استطلاع|استطلاع رأي|تصويت|पोल
polling|jajak pendapat|投票|アンケート|투표|설문
"""

BRACKETED = """
без медиафайлов|без файл|без фајл|uten vedlegg|pa media|bez multivides|ei kuvaa|fără audio|ไม่มีรูปภาพ
ไม่มีไฟล์เสียง|メディアなし
"""

EDITED = """
this message was edited|diese nachricht wurde bearbeitet|se editó este mensaje|este mensaje fue editado
mensaje editado|ce message a été modifié|questo messaggio è stato modificato|mensagem editada
esta mensagem foi editada|dit bericht is bewerkt|dit bericht werd bewerkt|сообщение изменено|это сообщение изменено
данное сообщение изменено|сообщение отредактировано|це повідомлення відредаговано|bu mesaj düzenlendi
تم تعديل هذه الرسالة|यह मैसेज एडिट किया गया|यह मैसेज एडिट किया गया है|इस मैसेज को एडिट किया गया|pesan ini diedit
pesan ini telah diedit|mesej ini telah diedit|このメッセージは編集されました|このメッセージは編集済みです
此消息已编辑|这条消息已编辑|此訊息已編輯|這則訊息已編輯|訊息已編輯|이 메시지는 수정되었습니다
이 메시지는 편집되었습니다|수정된 메시지입니다|ההודעה נערכה|ta wiadomość została edytowana|edytowano tę wiadomość
tin nhắn này đã được chỉnh sửa|tato zpráva byla upravena|det här meddelandet redigerades|denne besked blev redigeret
denne meldingen ble redigert|acest mesaj a fost editat
"""

ATTACHED_AFTER = """
file attached|datei angehängt|archivo adjunto|archivo adjuntado|fichier joint|file allegato|arquivo anexado
ficheiro anexado|bestand bijgevoegd|файл добавлен|файл додано|dosya ekli|الملف مرفق|फ़ाइल अटैच की गई
फाइल अटैच कर दी गई है|file terlampir|fail dilampirkan|添付ファイル|添付ファイル有り|附件檔案|檔案已附加|文件附件
파일 첨부됨|załączony plik|tệp đính kèm|קובץ מצורף|συνημμένο αρχείο|bifogad fil|fil vedhæftet|vedlagt fil
liitetiedosto|soubor byl přiložen|súbor pripojený|fișier atașat|fájl csatolva|arxiu adjunt|datoteka u privitku
پیوست شد
"""

ATTACHED_BEFORE = """
attached|anhang|angehängt|adjunto|archivo adjunto|pièce jointe|fichier joint|allegato|anexo|anexado|bijgevoegd
bijlage|прикреплено|вложение|додано|eklendi|ekli dosya|المُرفق|المرفق|مرفق|अटैच किया गया|संलग्न केले|terlampir
dilampir|添付ファイル|添付|附件|첨부됨|첨부|đính kèm|załączono|מצורף|επισυνάφθηκε|bifogat|vedhæftet|vedlagt|liite
příloha|príloha|atașare|csatolva|adjunt|priloženo|پیوست|แนบ
"""
