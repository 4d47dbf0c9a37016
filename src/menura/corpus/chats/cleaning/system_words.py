"""Lines that messengers write themselves, in the words of many languages; facts.

``{}`` is a name or a number, ``{…}`` a full stop and anything behind it, or nothing, ``“{}”`` anything in quotation
marks. What ``CERTAIN`` holds nobody says; what ``LIKELY`` holds people say as well (`Tomo left`), so that it counts
only where no author stands.
"""

CERTAIN = """
messages and calls are end-to-end encrypted{…}
messages to this chat and calls are now secured with end-to-end encryption{…}
messages to this chat are now secured with end-to-end encryption{…}
messages to this group are now secured with end-to-end encryption{…}
messages you send to this chat and calls are now secured with end-to-end encryption{…}
messages you send to this group are now secured with end-to-end encryption{…}
your messages and calls are secured with end-to-end encryption{…}
nachrichten und anrufe sind ende-zu-ende-verschlüsselt{…}
nachrichten in diesem chat sowie anrufe sind jetzt mit ende-zu-ende-verschlüsselung geschützt{…}
nachrichten in dieser gruppe sind jetzt mit ende-zu-ende-verschlüsselung geschützt{…}
los mensajes y las llamadas están cifrados de extremo a extremo{…}
los mensajes y llamadas en este chat ahora están protegidos con cifrado de extremo a extremo{…}
los mensajes en este grupo ahora están protegidos con cifrado de extremo a extremo{…}
les messages et les appels sont chiffrés de bout en bout{…}
les messages et appels envoyés dans cette discussion sont désormais protégés avec le chiffrement de bout en bout{…}
i messaggi e le chiamate sono crittografati end-to-end{…}
i messaggi che invii in questa chat e le chiamate sono ora protetti con la crittografia end-to-end{…}
as mensagens e as chamadas são protegidas com a criptografia de ponta a ponta{…}
as mensagens e as chamadas são protegidas com a criptografia de ponta a ponta e ficam somente {}
as mensagens e chamadas são encriptadas ponto a ponto{…}
as mensagens e as chamadas têm encriptação de ponta a ponta{…}
berichten en gesprekken worden end-to-end versleuteld{…}
berichten en oproepen worden end-to-end versleuteld{…}
berichten en oproepen zijn end-to-end versleuteld{…}
сообщения и звонки защищены сквозным шифрованием{…}
повідомлення й дзвінки захищено наскрізним шифруванням{…}
mesajlar ve aramalar uçtan uca şifrelidir{…}
الرسائل والمكالمات مشفرة تمامًا بين الطرفين{…}
الرسائل والمكالمات مشفّرة تمامًا بين الطرفين{…}
मैसेजेस और कॉल्स एंड-टू-एंड एन्क्रिप्टेड हैं{…}
मैसेज और कॉल एंड-टू-एंड एन्क्रिप्टेड हैं{…}
pesan dan panggilan terenkripsi secara end-to-end{…}
mesej dan panggilan disulitkan hujung ke hujung{…}
メッセージと通話はエンドツーエンド暗号化されています{…}
メッセージと通話はエンドツーエンドで暗号化されています{…}
消息和通话都进行端到端加密{…}
消息和通话都进行了端到端加密{…}
訊息和通話經端對端加密{…}
訊息和通話都受端對端加密保護{…}
訊息已受端對端加密保護{…}
메시지 및 전화는 종단간 암호화되어 안전합니다{…}
메시지와 통화는 종단간 암호화됩니다{…}
wiadomości i połączenia są w pełni zaszyfrowane{…}
tin nhắn và cuộc gọi được mã hóa đầu cuối{…}
הודעות ושיחות מוצפנות מקצה לקצה{…}
ההודעות והשיחות מוצפנות מקצה לקצה{…}
ההודעות והשיחות מוצפנות מקצה-לקצה{…}
τα μηνύματα και οι κλήσεις κρυπτογραφούνται πλήρως{…}
پیامها و تماسها سرتاسر رمزگذاری شدهاند{…}
meddelanden och samtal är komplett krypterade{…}
beskeder og opkald er end-to-end-krypterede{…}
meldinger og samtaler er ende-til-ende-krypterte{…}
viestit ja puhelut salataan täysin{…}
zprávy a hovory jsou opatřeny koncovým šifrováním{…}
zprávy a hovory jsou zabezpečeny koncovým šifrováním{…}
správy a hovory sú zabezpečené šifrovaním počas celého spojenia{…}
mesajele și apelurile sunt criptate integral{…}
az üzenetek és hívások végpontok közötti titkosítással vannak védve{…}
poruke i pozivi zaštićeni su potpunom enkripcijom{…}
els missatges i les trucades estan xifrats d'extrem a extrem{…}
waiting for this message. this may take a while{…}
your security code with {} changed{…}
{} security code changed. tap to learn more
deine sicherheitsnummer für {} hat sich geändert{…}
die sicherheitsnummer von {} hat sich geändert{…}
cambió tu código de seguridad con {}. toca {}
cambió tu código de seguridad con {}. pulsa {}
votre code de sécurité avec {} a changé{…}
il tuo codice di sicurezza con {} è cambiato{…}
seu código de segurança com {} mudou{…}
uw beveiligingscode voor {} is gewijzigd{…}
ваш код безопасности с контактом {} изменился{…}
{} ile aranızdaki güvenlik kodu değişti{…}
تغيّر رمز أمانك المُستخدَم مع {}. {}
{} के लिए आपका सुरक्षा कोड बदल गया है{…}
kode keamanan anda dengan {} telah berubah{…}
{}とのセキュリティコードが変更されました{…}
您與{}的安全碼已變更{…}
您與{}之間的安全代碼已變更{…}
您和{}的安全代码已更改{…}
{}님과의 보안 코드가 변경되었습니다{…}
{} joined using this group's invite link
{} joined using your invite
{} joined using a group link
{} joined from the community
{} changed their phone number to a new number{…}
{} turned on disappearing messages. {}
{} turned off disappearing messages. {}
{} updated the message timer. {}
{} changed this group's settings to allow {}
{} changed the subject from “{}” to “{}”
{} changed the group description. tap {}
you're now an admin
you're no longer an admin
you blocked this contact{…}
you unblocked this contact{…}
this chat is with a business account{…}
this business uses a secure service from meta {}
this business works with other companies to manage this chat{…}
you created this group
you created group “{}”
you joined using this group's invite link
du hast diese gruppe erstellt
du hast die gruppe „{}“ erstellt
{} ist der gruppe mit dem einladungslink beigetreten
{} ist dieser gruppe mit dem einladungslink beigetreten
{} ist dieser gruppe über den einladungslink beigetreten
{} hat eine neue telefonnummer. {}
{} hat den betreff von “{}” zu “{}” geändert
creaste este grupo
creaste el grupo “{}”
{} se unió usando el enlace de invitación de este grupo
{} se unió con el enlace de invitación del grupo
{} cambió su número de teléfono a un nuevo número{…}
vous avez créé ce groupe
vous avez créé le groupe “{}”
{} a rejoint le groupe via le lien d'invitation
{} a rejoint en utilisant le lien d'invitation de ce groupe
hai creato questo gruppo
hai creato il gruppo “{}”
{} si è unito usando il link d'invito del gruppo
{} si è unito usando il link di invito di questo gruppo
você criou este grupo
você criou o grupo “{}”
{} entrou usando o link de convite deste grupo
{} entrou usando o link de convite do grupo
je hebt deze groep aangemaakt
{} is toegetreden via de uitnodigingslink van deze groep
вы создали группу “{}”
{} присоединился(-ась) по ссылке-приглашению {}
{} присоединился(-лась) к группе по ссылке-приглашению
bu grubu oluşturdunuz
{} bu grubun davet bağlantısını kullanarak katıldı
{} انضم باستخدام رابط دعوة المجموعة
anda membuat grup “{}”
{} bergabung menggunakan tautan undangan grup ini
{}さんがこのグループの招待リンクを使用して参加しました
{} 使用此群組的邀請連結加入
{}使用此群组的邀请链接加入
{}님이 그룹 초대 링크를 사용하여 참여했습니다
"""

LIKELY = """
{} left
{} left the group
{} added {}
{} removed {}
{} joined
{} joined the group
{} created group “{}”
{} created this group
{} created the group
{} was added
{} was removed
{} changed the subject to “{}”
{} changed the group name{…}
{} changed this group's icon
{} changed the group icon
{} changed the group photo
{} deleted this group's icon
{} deleted the group icon
{} changed the group description
{} deleted the group description
{} changed to {}
{} pinned a message
{} started a call
{} started a video call
{} is now an admin
{} turned on disappearing messages
{} turned off disappearing messages
{} updated the message timer
{} turned on admin approval to join this group
{} turned off admin approval to join this group
{} unsent a message
{} is a contact
{} sent an attachment
{} hat die gruppe verlassen
{} hat {} hinzugefügt
{} hat {} entfernt
{} wurde hinzugefügt
{} wurde entfernt
{} hat die gruppe “{}” erstellt
{} hat die gruppe erstellt
{} hat diese gruppe erstellt
{} hat den betreff zu “{}” geändert
{} hat den gruppennamen {}geändert
{} hat das gruppenbild geändert
{} hat das gruppenbild gelöscht
{} hat die gruppenbeschreibung geändert
{} hat die telefonnummer gewechselt{…}
{} hat zu {} gewechselt
{} hat eine nachricht angeheftet
{} hat eine nachricht angepinnt
{} salió del grupo
{} salió
{} añadió a {}
{} eliminó a {}
{} creó el grupo {}
{} creó este grupo
{} cambió el asunto {}
{} cambió el nombre del grupo {}
{} cambió el ícono de este grupo
{} cambió el icono de este grupo
{} cambió la imagen del grupo
{} cambió la descripción del grupo
{} fijó un mensaje
{} a quitté le groupe
{} est parti
{} a ajouté {}
{} a retiré {}
{} a été ajouté
{} a créé le groupe {}
{} a créé ce groupe
{} a changé le sujet {}
{} a changé l'icône {}
{} a modifié la description du groupe
{} a changé la description du groupe
{} a épinglé un message
{} ha abbandonato
{} ha abbandonato il gruppo
{} ha aggiunto {}
{} ha rimosso {}
{} ha creato il gruppo {}
{} ha creato questo gruppo
{} ha cambiato l'oggetto {}
{} ha cambiato l'immagine {}
{} ha cambiato la descrizione del gruppo
{} ha fissato un messaggio
{} saiu
{} saiu do grupo
{} adicionou {}
{} removeu {}
{} criou o grupo {}
{} criou este grupo
{} mudou o nome do grupo {}
{} mudou o assunto {}
{} mudou a imagem {}
{} mudou a descrição do grupo
{} alterou {} do grupo
{} fixou uma mensagem
{} heeft de groep verlaten
{} heeft {} toegevoegd
{} heeft {} verwijderd
{} heeft de groep {}aangemaakt
{} heeft het onderwerp {}
{} heeft de groepsafbeelding gewijzigd
{} heeft de groepsomschrijving gewijzigd
{} heeft een bericht vastgezet
{} покинул(-а) группу
{} покинул(а) группу
{} вышел(-ла) из группы
{} вышел из группы
{} вышла из группы
{} добавил(-а) {}
{} добавил(а) {}
{} удалил(-а) {}
{} создал(-а) группу {}
{} создал(а) группу {}
{} изменил(-а) {}
{} изменил(а) {}
{} закрепил(а) сообщение
{} ayrıldı
{} gruptan ayrıldı
{} kişisini ekledi
{} adlı kişiyi ekledi
{} adlı kişiyi çıkardı
{} grubunu oluşturdu
{} grup adını {} olarak değiştirdi
{} bu grubun simgesini değiştirdi
{} grup açıklamasını değiştirdi
{} غادر
{} غادر المجموعة
{} أضاف {}
أضاف {}
غادر {}
{} أنشأ المجموعة {}
أنشأ {} المجموعة {}
{} غيّر {}
{} ने ग्रुप छोड़ दिया
{} ने {} को जोड़ा
{} ने {} को ऐड किया
{} ने {} को हटाया
{} ने ग्रुप {} बनाया
{} keluar
{} menambahkan {}
{} mengeluarkan {}
{} membuat grup {}
{} mengubah {} grup {}
{} mengubah ikon grup ini
{} mengubah deskripsi grup
{} menyematkan pesan
{}さんが退出しました
{}が退出しました
{}がグループを退会しました
{}がグループに参加しました
{}さんが{}さんを追加しました
{}が{}を招待しました
{}がメッセージの送信を取り消しました
{}さんがグループ{}を作成しました
{}さんが{}を変更しました
{}已退出
{}退出了群聊
{}已离开
{}離開了
{}已離開
{}已新增{}
{}已添加了{}
{}添加了{}
{}邀请{}加入了群聊
{}建立了群組{}
{}创建了群组{}
{}创建了此群组
{}更改了{}
{}變更了{}
{}已收回訊息
{}撤回了一条消息
{}님이 나갔습니다
{}님이 들어왔습니다
{}님이 {}님을 추가했습니다
{}님이 {}님을 초대했습니다
{}님이 그룹 {}을 만들었습니다
{}님이 {} 변경했습니다
{} opuścił(a) grupę
{} wyszedł/a
{} dodał(a) {}
{} đã rời khỏi nhóm
{} đã thêm {}
"""
